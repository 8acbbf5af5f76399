// The title, state and times of a task as text, worded as on the command line. Pure functions of a
// task and the time.

import type { Task } from '../protocol/generated';
import { hasEnded } from './store';

/** The state of a task, for its icon and the filter. */
export type Outcome =
  | 'running'
  | 'waiting'
  | 'stopping'
  | 'succeeded'
  | 'failed'
  | 'stopped'
  | 'timedOut'
  | 'lost';

/** The daemon's outcome, or `waiting` if the task waits for input. */
export function outcome(task: Pick<Task, 'shown' | 'waitsForInput'>): Outcome {
  const { outcome } = task.shown;
  if (outcome !== 'queued' && outcome !== 'running') return outcome;
  return task.waitsForInput ? 'waiting' : 'running';
}

/**
 * Escapes text for a notification, where VS Code makes a link of `[words](command:..)`: a word joiner
 * between the brackets prevents that. Labels, commands and output are not trusted.
 */
export function asText(words: string): string {
  return words.replaceAll('](', ']\u2060(');
}

/** Whether a task failed, timed out or was lost. */
export function isFailure(task: Task): boolean {
  return task.shown.notice === 'error';
}

/** The codicon and the theme colour of each outcome. */
export const ICONS: { [how in Outcome]: [icon: string, colour: string] } = {
  running: ['loading~spin', 'charts.blue'],
  waiting: ['bell-dot', 'charts.yellow'],
  stopping: ['loading~spin', 'charts.orange'],
  succeeded: ['pass', 'testing.iconPassed'],
  failed: ['error', 'testing.iconFailed'],
  stopped: ['circle-slash', 'descriptionForeground'],
  timedOut: ['watch', 'testing.iconFailed'],
  lost: ['question', 'testing.iconFailed'],
};

/** `2.4s`, `38s`, `1m 40s`, `2h 5m`. */
export function elapsed(ms: number): string {
  const seconds = Math.floor(Math.max(0, ms) / 1000);
  const pair = (big: number, bigUnit: string, small: number, smallUnit: string) =>
    small === 0 ? `${big}${bigUnit}` : `${big}${bigUnit} ${small}${smallUnit}`;
  if (seconds < 10) return `${(Math.floor(Math.max(0, ms) / 100) / 10).toFixed(1)}s`;
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3_600) return pair(Math.floor(seconds / 60), 'm', seconds % 60, 's');
  if (seconds < 86_400) {
    return pair(Math.floor(seconds / 3_600), 'h', Math.floor((seconds % 3_600) / 60), 'm');
  }
  return pair(Math.floor(seconds / 86_400), 'd', Math.floor((seconds % 86_400) / 3_600), 'h');
}

/** `0 B`, `1.5 KiB`, `12 MiB`. */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || value >= 10 ? 0 : 1;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

/** One line, without control characters. */
export function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: this removes them.
  return text.replace(/[\u0000-\u001f\u007f]+/g, ' ').trim();
}

export function title(task: Pick<Task, 'shown'>): string {
  return task.shown.title;
}

/** The title after the percentage, so that a long command or the line's buttons do not hide that. */
export function headed(task: Task): string {
  const percent = hasEnded(task) ? undefined : task.progress?.percent;
  return percent === undefined ? title(task) : `${percent}% ${title(task)}`;
}

/** How long a task has run and how long it will take: `38s`, `about 54s left`. */
export function timing(task: Task, now: number, usualMs: number | undefined): string[] {
  const gone = now - Date.parse(task.createdAt);
  const percent = task.progress?.percent;
  // Tenths of a second would make the list flicker.
  const parts = [gone < 10_000 ? `${Math.floor(Math.max(0, gone) / 1000)}s` : elapsed(gone)];
  const byPercent =
    percent !== undefined && percent >= 5 ? (gone * (100 - percent)) / percent : undefined;
  if (usualMs !== undefined && gone <= usualMs) parts.push(`about ${rough(usualMs - gone)} left`);
  else if (byPercent !== undefined) parts.push(`about ${rough(byPercent)} left`);
  else if (usualMs !== undefined) parts.push(`longer than the usual ${rough(usualMs)}`);
  return parts;
}

/** Whole seconds, because a forecast is not exact. */
function rough(ms: number): string {
  return ms < 10_000 ? `${Math.ceil(ms / 1000)}s` : elapsed(ms);
}

/** The text after the title in the list. */
export function description(task: Task, now: number, usualMs: number | undefined): string {
  const { outcome: how, stands } = task.shown;
  // The icon shows ordinary states.
  const parts = ['running', 'exit 0'].includes(stands) ? [] : [stands];
  if (task.on !== undefined && !stands.includes(task.on)) parts.push(`at ${task.on}`);
  if (!hasEnded(task)) {
    return [...parts, ...timing(task, now, how === 'running' ? usualMs : undefined)].join(' · ');
  }
  if (task.shown.took !== undefined) parts.push(task.shown.took);
  if (task.endedAt !== undefined) parts.push(ago(now - Date.parse(task.endedAt)));
  if (task.survivors?.length) parts.push(`${task.survivors.length} left behind`);
  return parts.join(' · ');
}

/** `just now`, `5m ago`. */
export function ago(ms: number): string {
  if (ms < 60_000) return 'just now';
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)}m ago`;
  if (ms < 86_400_000) return `${Math.floor(ms / 3_600_000)}h ago`;
  return `${Math.floor(ms / 86_400_000)}d ago`;
}

/** For a screen reader, and for a notification: `npm test exited 1 after 4.0s`. */
export function sentence(task: Task): string {
  const { title, ended, stands } = task.shown;
  return `${cut(title, 80)} ${ended ?? stands}`;
}

export function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

/** Which tasks the list shows. */
export interface Filter {
  which: 'all' | 'running' | 'failed' | 'finished';
  text: string;
}

export const NO_FILTER: Filter = { which: 'all', text: '' };

export function passes(task: Task, filter: Filter): boolean {
  const text = filter.text.toLowerCase();
  const named =
    text === '' ||
    task.command.toLowerCase().includes(text) ||
    (task.label ?? '').toLowerCase().includes(text) ||
    task.id.startsWith(text);
  switch (filter.which) {
    case 'all':
      return named;
    case 'running':
      return named && !hasEnded(task);
    case 'finished':
      return named && hasEnded(task);
    case 'failed':
      return named && isFailure(task);
  }
}

export function filterInWords(filter: Filter): string | undefined {
  const parts = [
    ...(filter.which === 'all' ? [] : [filter.which]),
    ...(filter.text === '' ? [] : [`“${filter.text}”`]),
  ];
  return parts.length === 0 ? undefined : `Filter: ${parts.join(', ')}`;
}
