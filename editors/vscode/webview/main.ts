// The page of both views: receives the extension's messages, keeps a copy of the state, and draws the part of its view.
// VS Code discards the page when the panel is hidden; after `ready` the extension sends everything again.

import type { FromWebview, Snapshot, ToWebview } from '../src/panel/messages';
import { reduce } from '../src/panel/session';
import { NOTHING } from '../src/panel/timeline';
import { ChatView } from './chatView';
import { h } from './dom';
import { TimelineView } from './timelineView';

declare function acquireVsCodeApi(): { postMessage(message: FromWebview): void };

const api = acquireVsCodeApi();
const post = (message: FromWebview) => api.postMessage(message);

const ALL = 'all';
const FRESH = 'fresh';

let shown: Snapshot | undefined;
let drawing = false;

const timeline = new TimelineView((taskId) => post({ type: 'showOutput', taskId }));
const chat = new ChatView(post);
const folders = h('select', { 'aria-label': 'Folder', title: 'Folder' });
const sessions = h('select', { 'aria-label': 'Session', title: 'The conversation shown' });
folders.addEventListener('change', () => post({ type: 'chooseFolder', folder: folders.value }));
sessions.addEventListener('change', () => {
  if (sessions.value === FRESH) post({ type: 'newSession' });
  else post({ type: 'choose', session: sessions.value === ALL ? undefined : sessions.value });
});

const bar = h('div', { class: 'bar' }, folders, sessions);
const isChat = document.body.dataset.view === 'chat';
if (!isChat) timeline.element.querySelector('.tools')?.before(bar);
document.body.append(
  h(
    'main',
    { class: isChat ? 'chat' : 'lanes-only' },
    ...(isChat ? [bar, chat.element] : [timeline.element]),
  ),
);

window.addEventListener('message', ({ data }: MessageEvent<ToWebview>) => {
  switch (data.type) {
    case 'snapshot':
      shown = data;
      if (isChat) chat.draft = data.draft;
      break;
    case 'events':
      if (shown?.session?.id !== data.session) return;
      for (const event of data.events) reduce(shown.session, event);
      break;
    case 'tasks':
      if (shown) shown.tasks = data.timeline;
      break;
    case 'sessions':
      if (shown) shown.sessions = data.sessions;
      break;
    case 'focusPrompt':
      if (isChat) chat.focus();
      return;
  }
  drawSoon();
});
post({ type: 'ready' });

function drawSoon(): void {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    draw();
  });
}

function draw(): void {
  if (!shown) return;
  const { session, tasks, agent } = shown;
  folders.hidden = shown.folders.length < 2;
  options(
    folders,
    shown.folders.map(({ key, name }) => [key, name]),
    shown.folder ?? '',
  );
  options(
    sessions,
    [
      [ALL, isChat ? 'Choose a session…' : 'All background tasks'],
      ...(agent.kind === 'ready' ? [[FRESH, 'New session…'] as [string, string]] : []),
      ...(session && !shown.sessions.some(({ sessionId }) => sessionId === session.id)
        ? [[session.id, session.title ?? 'This session'] as [string, string]]
        : []),
      ...shown.sessions.map(({ sessionId, title, updatedAt }): [string, string] => [
        sessionId,
        `${title ?? sessionId.slice(0, 8)}${updatedAt ? ` · ${new Date(updatedAt).toLocaleString(undefined, { dateStyle: 'short', timeStyle: 'short' })}` : ''}`,
      ]),
    ],
    session?.id ?? (shown.fresh ? FRESH : ALL),
  );
  if (isChat) {
    chat.show(session, agent);
    return;
  }
  timeline.show(
    session?.timeline ?? (shown.fresh ? NOTHING : tasks),
    session?.id ?? (shown.fresh ? FRESH : ALL),
  );
}

function options(select: HTMLSelectElement, wanted: [string, string][], value: string): void {
  const text = JSON.stringify(wanted);
  if (select.dataset.drawn !== text) {
    select.dataset.drawn = text;
    select.replaceChildren(...wanted.map(([key, name]) => h('option', { value: key }, name)));
  }
  if (select.value !== value) select.value = value;
}
