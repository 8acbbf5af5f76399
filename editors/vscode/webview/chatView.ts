// The chat view of the panel: the conversation, open questions, and the input box.
// Draws a session model and sends the person's actions; its only own state is the draft in the box.

import MarkdownIt from 'markdown-it';
import type { AgentState, FromWebview } from '../src/panel/messages';
import { type Entry, type Permission, type SessionModel, shown, works } from '../src/panel/session';
import type { Card } from '../src/protocol/generated';
import {
  blockText,
  changeOf,
  questionOf,
  type ToolContent,
  unseenOf,
} from '../src/protocol/session';
import { ICONS } from '../src/tasks/describe';
import { codicon, h, iconButton } from './dom';

/** HTML in a model's text is shown as text. */
const markdown = new MarkdownIt({ html: false, linkify: false, breaks: true });
/** How many lines of a tool's input and output are shown until a person unfolds the rest. */
const FOLDED_LINES = 8;

export class ChatView {
  readonly element: HTMLElement;
  private readonly log: HTMLElement;
  private readonly asks: HTMLElement;
  private readonly state: HTMLElement;
  private readonly box: HTMLTextAreaElement;
  private readonly send: HTMLButtonElement;
  private readonly stop: HTMLButtonElement;
  private drawn: { text: string; element: HTMLElement }[] = [];
  private asked = '';
  private sessionId: string | undefined;
  private agent: AgentState = { kind: 'starting' };

  constructor(private readonly post: (message: FromWebview) => void) {
    this.log = h('div', {
      class: 'log',
      role: 'log',
      tabindex: 0,
      'aria-label': 'Conversation with the agent',
      'aria-live': 'polite',
    });
    this.asks = h('div', { class: 'asks', 'aria-live': 'assertive' });
    this.state = h('div', { class: 'state', role: 'status' });
    this.box = h('textarea', {
      rows: 1,
      'aria-label': 'Message to the agent',
      placeholder: 'Ask the agent (Enter sends)',
    });
    this.send = iconButton('send', 'Send (Enter)', () => this.submit());
    this.stop = iconButton('debug-stop', 'Cancel the turn; background tasks go on (Escape)', () =>
      this.post({ type: 'cancel' }),
    );
    this.element = h(
      'section',
      { class: 'agent', 'aria-label': 'Agent' },
      this.log,
      this.asks,
      this.state,
      h('div', { class: 'prompt' }, this.box, this.stop, this.send),
    );
    this.box.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.submit();
      } else if (event.key === 'Escape' && !this.stop.hidden) {
        this.post({ type: 'cancel' });
      }
    });
    this.box.addEventListener('input', () => {
      this.grow();
      this.post({ type: 'draft', text: this.box.value });
      this.enable();
    });
    this.element.addEventListener('click', (event) => this.click(event));
    // If the log is scrolled to its end, it stays there when the view is resized.
    let follows = true;
    this.log.addEventListener('scroll', () => {
      follows = this.isAtEnd();
    });
    new ResizeObserver(() => {
      if (follows) this.log.scrollTop = this.log.scrollHeight;
    }).observe(this.log);
  }

  private isAtEnd(): boolean {
    return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
  }

  show(session: SessionModel | undefined, agent: AgentState): void {
    this.agent = agent;
    if (session?.id !== this.sessionId) {
      this.sessionId = session?.id;
      this.drawn = [];
      this.log.replaceChildren();
    }
    // Follow new entries only if the log is scrolled to its end.
    const atEnd = this.isAtEnd();
    const kind = session?.running ? 'waiting' : 'user';
    const sent = (session?.sent ?? []).map(({ text }): Entry => ({ kind, text }));
    this.drawEntries([...(session?.entries ?? []), ...sent]);
    this.drawAsks(session?.permissions ?? []);
    this.drawState(session);
    this.stop.hidden = !works(session) || session?.held !== undefined;
    this.box.disabled = agent.kind !== 'ready' || session?.held?.free === false;
    this.enable();
    if (atEnd) this.log.scrollTop = this.log.scrollHeight;
  }

  set draft(text: string) {
    if (this.box.value === '' || text === '') this.box.value = text;
    this.grow();
    this.enable();
  }

  focus(): void {
    this.box.focus();
  }

  private submit(): void {
    const text = this.box.value.trim();
    if (text === '' || this.box.disabled) return;
    this.box.value = '';
    this.grow();
    this.enable();
    this.post({ type: 'prompt', text });
    this.log.scrollTop = this.log.scrollHeight;
  }

  private enable(): void {
    this.send.disabled = this.box.disabled || this.box.value.trim() === '';
  }

  private grow(): void {
    this.box.rows = Math.min(8, this.box.value.split('\n').length);
  }

  private drawEntries(entries: Entry[]): void {
    entries.forEach((entry, index) => {
      const text = JSON.stringify(entry);
      const there = this.drawn[index];
      if (there?.text === text) return;
      const element = drawEntry(entry);
      keepFolds(there?.element, element);
      if (there) there.element.replaceWith(element);
      else this.log.append(element);
      this.drawn[index] = { text, element };
    });
    for (const { element } of this.drawn.splice(entries.length)) element.remove();
    if (entries.length > 0) this.log.querySelector('.welcome')?.remove();
    else if (!this.log.querySelector('.welcome')) {
      this.log.append(
        h(
          'p',
          { class: 'welcome' },
          'Ask the agent to build, test or change something. It runs slow commands in the background and continues; the timeline shows when it gets each result.',
        ),
      );
    }
  }

  private drawAsks(permissions: Permission[]): void {
    const now = JSON.stringify(permissions);
    if (now === this.asked) return;
    this.asked = now;
    this.asks.replaceChildren(...permissions.map((permission) => this.drawAsk(permission)));
    // Not while the person is typing: Enter would answer the question.
    if (permissions.length > 0 && document.activeElement === document.body) {
      this.asks.querySelector('button')?.focus();
    }
  }

  private drawAsk({ key, request }: Permission): HTMLElement {
    const { toolCall, options } = request;
    const question = `May the agent ${questionOf(request)}?`;
    const input = shown(toolCall.rawInput, question);
    return h(
      'div',
      { class: 'ask', role: 'group', 'aria-label': question },
      h('div', { class: 'ask-title' }, codicon('shield'), h('strong', {}, question)),
      input !== '' && h('pre', {}, input),
      ...[...reasons(toolCall.content), ...unseenOf(request)].map((reason) =>
        h('div', { class: 'reason' }, reason),
      ),
      h(
        'div',
        { class: 'options' },
        changeOf(request) !== undefined &&
          h(
            'button',
            { class: 'secondary review', click: () => this.post({ type: 'review', key }) },
            codicon('diff'),
            'Look at the Change',
          ),
        ...options.map((option, index) =>
          h(
            'button',
            {
              class: index === 0 ? 'primary' : 'secondary',
              'data-kind': option.kind,
              click: () => this.post({ type: 'permission', key, ...option }),
            },
            option.name,
          ),
        ),
      ),
    );
  }

  private drawState(session: SessionModel | undefined): void {
    const parts: (HTMLElement | string)[] = [];
    const { agent } = this;
    if (agent.kind === 'noModel') parts.push(this.drawNoModel(agent.reason));
    else if (agent.kind === 'missing') {
      parts.push(
        codicon('info'),
        h('span', {}, agent.reason),
        h('button', { class: 'link', click: () => this.post({ type: 'retryAgent' }) }, 'Try again'),
      );
    } else if (agent.kind === 'starting') parts.push(spinner(), 'Starting…');
    else if (session?.held)
      parts.push(session.running ? spinner() : codicon('eye'), session.held.says);
    else if (session?.retry !== undefined) parts.push(codicon('warning'), session.retry);
    else if (session && session.permissions.length > 0) parts.push('Waits for your answer');
    else if (works(session)) parts.push(spinner(), 'Working…');
    else if (session) {
      const running = session.timeline.pieces.filter(
        (piece) => piece.type === 'lane' && piece.look === 'running',
      ).length;
      if (running > 0) {
        parts.push(
          `${running} ${running === 1 ? 'task runs' : 'tasks run'} in the background; the agent will hear of ${running === 1 ? 'its' : 'each'} end.`,
        );
      }
    }
    if (session?.usage !== undefined) parts.push(h('span', { class: 'usage' }, session.usage));
    this.state.replaceChildren(...parts);
    const long = agent.kind === 'missing' || session?.held !== undefined;
    this.state.classList.toggle('long', long);
  }

  /** Offers actions to a person without a model, instead of a text about variables. */
  private drawNoModel(reason: string): HTMLElement {
    const button = (label: string, command: Extract<FromWebview, { type: 'run' }>['command']) =>
      h('button', { class: 'secondary', click: () => this.post({ type: 'run', command }) }, label);
    return h(
      'div',
      { class: 'no-model' },
      h(
        'div',
        { title: reason },
        codicon('info'),
        ` ${reason.split('; ')[0]?.replace(/: set .*/, '')}.`,
      ),
      h(
        'div',
        { class: 'options' },
        button('Set a Key…', 'setKey'),
        button('Use a Local Server…', 'useLocalServer'),
        button('Open Settings', 'openModelSettings'),
        button('Play the Lesson', 'learn'),
        h('button', { class: 'link', click: () => this.post({ type: 'retryAgent' }) }, 'Try again'),
      ),
    );
  }

  private click(event: Event): void {
    const target = (event.target as Element).closest('[data-task],[data-change]');
    if (!target) return;
    const task = target.getAttribute('data-task');
    const toolCallId = target.getAttribute('data-change');
    if (task) this.post({ type: 'showOutput', taskId: task });
    else if (toolCallId) {
      const path = target.getAttribute('data-path') ?? '';
      this.post({ type: 'showChange', toolCallId, path });
    }
  }
}

function drawEntry(entry: Entry): HTMLElement {
  switch (entry.kind) {
    case 'user':
      return h(
        'div',
        { class: 'entry user', 'aria-label': 'You' },
        h('div', { class: 'text' }, entry.text),
      );
    case 'waiting':
      return h(
        'div',
        { class: 'entry user waiting', 'aria-label': 'You, not started yet' },
        h('div', { class: 'text' }, entry.text),
        h('div', {}, codicon('clock'), ' waits for the running turn'),
      );
    case 'agent':
      return h('div', { class: 'entry agent-text', 'aria-label': 'Agent' }, rendered(entry.text));
    case 'thought':
      return h(
        'details',
        { class: 'entry thought' },
        h('summary', {}, codicon('lightbulb'), 'Thought'),
        rendered(entry.text),
      );
    case 'background':
      return drawBackground(entry);
    case 'notice':
      return h('div', { class: 'entry notice' }, codicon('info'), h('span', {}, entry.text));
    case 'error':
      return h(
        'div',
        { class: 'entry error', role: 'alert' },
        codicon('error'),
        h('span', {}, entry.text),
      );
    case 'turn':
      return h('div', { class: 'entry turn-mark' }, entry.text);
    case 'plan':
      return h(
        'ul',
        { class: 'entry plan', 'aria-label': 'Plan' },
        ...entry.steps.map((step) =>
          h(
            'li',
            { class: step.status },
            codicon(
              step.status === 'completed'
                ? 'pass'
                : step.status === 'in_progress'
                  ? 'arrow-right'
                  : 'circle-large-outline',
            ),
            step.content,
          ),
        ),
      );
    case 'tool':
      return drawTool(entry);
  }
}

/** Draws the results of programs, which must not look like a person's message. */
function drawBackground(entry: Extract<Entry, { kind: 'background' }>): HTMLElement {
  return h(
    'div',
    { class: 'entry background', 'aria-label': 'Background results, from programs' },
    h('div', { class: 'head' }, codicon('inbox'), h('span', {}, entry.says)),
    ...entry.cards.map(drawCard),
  );
}

/** Draws one result: the command, how it ended, when the model got it, and which output the model got. */
function drawCard(card: Card): HTMLElement {
  const { title, command, says, way, output, outcome = 'lost', taskId } = card;
  return h(
    'div',
    { class: `card ${outcome}`, role: 'group', 'aria-label': [title, says, way].join(', ') },
    h(
      'div',
      { class: 'head' },
      codicon(cardIcon(card)),
      h('span', { class: 'title' }, title),
      says !== '' && h('span', { class: 'says' }, says),
      taskLink(taskId),
    ),
    command !== undefined && h('code', { class: 'command' }, command),
    way !== undefined && h('div', { class: 'way' }, way),
    output !== '' && folded(output),
  );
}

/** The icon of a card: a bell for a notification before the task's end. */
function cardIcon({ kind, outcome = 'lost' }: Card): string {
  const over = kind === 'exited' && outcome !== 'queued' && outcome !== 'running';
  return over && outcome !== 'stopping' ? ICONS[outcome][0] : 'bell';
}

function drawTool(entry: Extract<Entry, { kind: 'tool' }>): HTMLElement {
  const icon = entry.card?.outcome
    ? cardIcon(entry.card)
    : {
        pending: 'circle-large-outline',
        in_progress: 'loading codicon-modifier-spin',
        completed: 'pass',
        failed: 'error',
      }[entry.status];
  const words = {
    pending: 'waits for permission',
    in_progress: 'runs',
    completed: 'done',
    failed: 'failed',
  }[entry.status];
  return h(
    'div',
    { class: `entry tool ${entry.status}`, 'aria-label': `Tool ${entry.title}, ${words}` },
    h(
      'div',
      { class: 'head' },
      codicon(icon),
      h('span', { class: 'title' }, entry.title),
      entry.card && h('span', { class: 'says' }, entry.card.says),
      entry.background && h('span', { class: 'badge' }, 'in the background'),
      entry.confined && h('span', { class: 'badge' }, 'confined'),
      entry.taskId !== undefined && taskLink(entry.taskId),
    ),
    entry.diffs.length === 0 && entry.input !== '' && folded(entry.input, 'input'),
    ...entry.diffs.map((diff) =>
      h(
        'div',
        { class: 'diff' },
        h(
          'button',
          {
            class: 'link',
            'data-change': entry.id,
            'data-path': diff.path,
            title: diff.path,
          },
          codicon('diff'),
          'Show the change',
        ),
      ),
    ),
    entry.output !== '' && folded(entry.output),
  );
}

function taskLink(id: string): HTMLElement {
  return h(
    'button',
    { class: 'link task-link', 'data-task': id, title: `Show the output of ${id}` },
    codicon('terminal'),
    id,
  );
}

function folded(text: string, kind = 'output'): HTMLElement {
  const lines = text.replace(/\n$/, '').split('\n');
  if (lines.length <= FOLDED_LINES) return h('pre', { class: kind }, lines.join('\n'));
  return h(
    'details',
    { class: 'fold' },
    h('summary', {}, `${lines.length} lines`),
    h('pre', { class: kind }, lines.join('\n')),
  );
}

/** Keeps what a person has unfolded open after a redraw. */
function keepFolds(before: HTMLElement | undefined, after: HTMLElement): void {
  if (!before) return;
  const folds = (of: HTMLElement) => [
    ...(of instanceof HTMLDetailsElement ? [of] : []),
    ...of.querySelectorAll('details'),
  ];
  const old = folds(before);
  folds(after).forEach((fold, index) => {
    fold.open = old[index]?.open ?? fold.open;
  });
}

function rendered(text: string): HTMLElement {
  const element = h('div', { class: 'text markdown' });
  element.innerHTML = markdown.render(text);
  return element;
}

/** The daemon's texts that say why the question is asked. */
function reasons(content: ToolContent[] | undefined): string[] {
  return (content ?? []).flatMap((part) =>
    part.type === 'content' ? [blockText(part.content)] : [],
  );
}

function spinner(): HTMLElement {
  return h('span', {
    class: 'codicon codicon-loading codicon-modifier-spin',
    'aria-hidden': 'true',
  });
}
