import { expect, test } from 'vitest';
import { emptySession, reduce, type SessionEvent, shown } from '../../src/panel/session';
import type { Piece } from '../../src/protocol/generated';
import type { SessionUpdate } from '../../src/protocol/session';

const text = (text: string) => ({ type: 'text' as const, text });
const push = (update: SessionUpdate): SessionEvent => ({ type: 'update', update });
/** A turn that starts with this prompt. */
const begins = (prompt?: string): SessionEvent => ({
  type: 'turn',
  push: {
    sessionId: 's',
    turn: 1,
    state: 'started',
    origin: prompt === undefined ? 'background' : 'prompt',
    ...(prompt !== undefined && { prompt }),
  },
});
const ends = (why: { says?: string; error?: string } = {}): SessionEvent => ({
  type: 'turn',
  push: { sessionId: 's', turn: 1, state: 'ended', origin: 'prompt', ...why },
});
const says = (words: string, call = 1) =>
  push({
    sessionUpdate: 'agent_message_chunk',
    content: text(words),
    _meta: { meanwhile: { call } },
  });
function after(...events: SessionEvent[]) {
  const model = emptySession('s');
  for (const event of events) reduce(model, event);
  return model;
}

/** The entries as a person sees them, one line each. */
function seen(...events: SessionEvent[]): string[] {
  // biome-ignore lint/suspicious/useIterableCallbackReturn: tsc checks that every kind is handled.
  return after(...events).entries.map((entry) => {
    switch (entry.kind) {
      case 'tool':
        return `tool ${entry.title} ${entry.status}${entry.background ? ' background' : ''}${entry.confined ? ' confined' : ''}${entry.taskId ? ` ${entry.taskId}` : ''}`;
      case 'plan':
        return `plan ${entry.steps.map(({ content, status }) => `${content}=${status}`).join()}`;
      case 'background':
        return `${entry.says}: ${entry.cards.map(({ title, says }) => `${title} ${says}`).join()}`;
      case 'user':
      case 'waiting':
      case 'agent':
      case 'thought':
      case 'notice':
      case 'error':
      case 'turn':
        return `${entry.kind}: ${entry.text}`;
    }
  });
}

test('chunks of one voice are one entry', () => {
  expect(
    seen(
      begins('hi'),
      push({ sessionUpdate: 'agent_thought_chunk', content: text('h') }),
      push({ sessionUpdate: 'agent_thought_chunk', content: text('m') }),
      says('Hel'),
      says('lo'),
    ),
  ).toEqual(['user: hi', 'thought: hm', 'agent: Hello']);
});

test('a tool call from pending to the background', () => {
  const call = { toolCallId: 't1' };
  expect(
    seen(
      push({
        sessionUpdate: 'tool_call',
        ...call,
        title: 'make',
        status: 'pending',
        rawInput: { command: 'make' },
      }),
      push({
        sessionUpdate: 'tool_call_update',
        ...call,
        status: 'in_progress',
        _meta: { meanwhile: { confined: 'look' } },
      }),
      push({
        sessionUpdate: 'tool_call_update',
        ...call,
        content: [{ type: 'terminal', terminalId: 'b3f9c2a1' }],
      }),
      push({
        sessionUpdate: 'tool_call_update',
        ...call,
        status: 'completed',
        _meta: { meanwhile: { taskId: 'b3f9c2a1', background: true } },
      }),
    ),
  ).toEqual(['tool make completed background confined b3f9c2a1']);
});

test('results of tasks and words of the harness are not a person\u2019s', () => {
  const chunk = (words: string, meanwhile: object) =>
    push({ sessionUpdate: 'user_message_chunk', content: text(words), _meta: { meanwhile } });
  expect(
    seen(
      push({ sessionUpdate: 'user_message_chunk', content: text('mine') }),
      chunk('<background-results>', {
        origin: 'background',
        says: 'A background result entered here, with model call 4',
        cards: [{ title: 'make', says: 'exited 0 after 2.0s' }],
      }),
      chunk('Resumed. No human input.', { origin: 'notice', shown: 'Resumed.' }),
    ),
  ).toEqual([
    'user: mine',
    'A background result entered here, with model call 4: make exited 0 after 2.0s',
    'notice: Resumed.',
  ]);
});

test('what a failed call streamed is void; what entered its request stays', () => {
  const retry: SessionEvent = {
    type: 'retrying',
    push: {
      sessionId: 's',
      attempt: 2,
      call: 2,
      delayMs: 1_500,
      message: 'overloaded',
      says: 'asked again',
    },
  };
  const model = after(begins('go'), says('half', 2), retry);
  expect(model.entries).toEqual([{ kind: 'user', text: 'go' }]);
  expect(model.retry).toBe('asked again');
  reduce(model, says('whole', 2));
  expect(model.retry).toBeUndefined();
  expect(
    seen(
      says('before', 1),
      // A tool call is sent only once the answer is stored, so it stays, whatever its status.
      push({ sessionUpdate: 'tool_call', toolCallId: 'a', title: 'make', status: 'pending' }),
      push({
        sessionUpdate: 'user_message_chunk',
        content: text('r'),
        _meta: { meanwhile: { origin: 'background', cards: [], call: 2 } },
      }),
      push({
        sessionUpdate: 'tool_call',
        toolCallId: 'b',
        title: 'test',
        status: 'in_progress',
        _meta: { meanwhile: { call: 2 } },
      }),
      says('half', 2),
      retry,
    ),
  ).toEqual(['agent: before', 'tool make pending', 'undefined: ', 'tool test in_progress']);
});

test('what a start in the background answers is for the model', () => {
  const started = push({
    sessionUpdate: 'tool_call_update',
    toolCallId: 'a',
    status: 'completed',
    content: [{ type: 'content', content: text('started as task b3f9c2a1') }],
    _meta: { meanwhile: { taskId: 'b3f9c2a1', background: true } },
  });
  expect(after(started).entries).toMatchObject([{ kind: 'tool', output: '', background: true }]);
});

test('how a command ended and what it wrote is shown, and not what the model is told', () => {
  const ended = push({
    sessionUpdate: 'tool_call_update',
    toolCallId: 'a',
    status: 'completed',
    content: [{ type: 'content', content: text('exited 2 after 3.0s\nwrong\n(it ran confined)') }],
    _meta: { meanwhile: { card: { says: 'exited 2 after 3.0s', output: 'wrong' } } },
  });
  const card = { says: 'exited 2 after 3.0s' };
  expect(after(ended).entries).toMatchObject([{ kind: 'tool', output: 'wrong', card }]);
});

test('arguments are words, without those that stand before them', () => {
  const before = 'May the agent run in the background: make all?';
  expect(shown({ command: 'make all' }, before)).toBe('');
  expect(shown({ command: 'make all', label: 'build' }, before)).toBe('label: build');
  expect(shown({ pattern: 'x', limit: 5 }, 'grep')).toBe('pattern: x\nlimit: 5');
  expect(shown({ query: 'x' }, 'look')).toBe('x');
  expect([shown('x', 'y'), shown(null, 'y')]).toEqual(['x', '']);
});

test('a session of another process says how it stands there, and is free once that has ended', () => {
  const watched = { sessionId: 's', pid: 7, asks: [], says: 'Process 7 has it' };
  const model = after({ type: 'watched', watched: { ...watched, holder: 'open' } });
  expect(model.held).toEqual({ says: 'Process 7 has it', free: false });
  reduce(model, begins());
  reduce(model, { type: 'watched', watched: { ...watched, holder: 'open' } });
  expect([model.held?.free, model.running]).toEqual([false, true]);
  reduce(model, { type: 'watched', watched: { ...watched, holder: 'gone' } });
  expect([model.held?.free, model.running]).toEqual([true, false]);
});

test('a turn ends with its reason or its error', () => {
  const model = after(begins('go'), ends({ says: 'Cancelled.' }));
  expect(model.running).toBe(false);
  expect(model.entries.map(({ kind }) => kind)).toEqual(['user', 'turn']);
  expect(seen(begins('go'), ends({ error: 'no' }))).toEqual(['user: go', 'error: no']);
});

test('a turn that a result began needs no heading: the card of that result says so', () => {
  const model = after(begins());
  expect(model.running).toBe(true);
  expect(model.entries).toEqual([]);
});

test('a question is open until it is answered, or its turn is over', () => {
  const ask = (key: number): SessionEvent => ({
    type: 'permission',
    permission: { key, request: { sessionId: 's', toolCall: { toolCallId: 't' }, options: [] } },
  });
  const model = after(ask(1), ask(2), { type: 'permissionOver', key: 1 });
  expect(model.permissions.map(({ key }) => key)).toEqual([2]);
  reduce(model, ends());
  expect(model.permissions).toEqual([]);
});

test('the timeline is the daemon\u2019s, and pieces of it are replaced', () => {
  const lane = (label: string): Piece => ({ type: 'lane', key: 'agent', kind: 'agent', label });
  const model = after(
    { type: 'timeline', timeline: { pieces: [lane('a')], legend: [], leftOut: 3 } },
    { type: 'pieces', pieces: [lane('b')] },
  );
  expect(model.timeline).toEqual({ pieces: [lane('b')], legend: [], leftOut: 3 });
});

test('what a session has used is said in the daemon\u2019s words', () => {
  const usage = push({
    sessionUpdate: 'usage_update',
    used: 1,
    size: 2,
    _meta: { meanwhile: { says: '50% of the context' } },
  });
  expect(after(usage).usage).toBe('50% of the context');
});

test('a plan is one entry that changes', () => {
  const plan = (status: 'pending' | 'completed') =>
    push({ sessionUpdate: 'plan', entries: [{ content: 'a', priority: 'medium', status }] });
  expect(seen(plan('pending'), says('x'), plan('completed'))).toEqual([
    'plan a=completed',
    'agent: x',
  ]);
});

const prompt = (key: number, text: string) => ({ key, text });

test('a prompt sent while a turn runs waits, and takes its place when its turn begins', () => {
  const [one, two, three] = [prompt(1, 'one'), prompt(2, 'two'), prompt(3, 'three')] as const;
  const model = after({ type: 'prompted', prompt: one }, { type: 'prompted', prompt: two });
  reduce(model, begins('one'));
  expect([model.entries.length, model.sent]).toEqual([1, [two]]);
  reduce(model, ends());
  reduce(model, begins('two'));
  expect(model.entries.at(-1)).toEqual({ kind: 'user', text: 'two' });
  expect(model.sent).toEqual([]);
  reduce(model, { type: 'prompted', prompt: three });
  reduce(model, { type: 'refused', prompt: three, error: 'overloaded' });
  expect(model.sent).toEqual([]);
  expect(model.entries.slice(-2)).toEqual([
    { kind: 'user', text: 'three' },
    { kind: 'error', text: 'overloaded' },
  ]);
});

test('of two prompts of the same text, the one that was refused is taken out', () => {
  const [first, second] = [prompt(1, 'go on'), prompt(2, 'go on')] as const;
  const model = after({ type: 'prompted', prompt: first }, { type: 'prompted', prompt: second });
  reduce(model, begins('go on'));
  reduce(model, { type: 'refused', prompt: first, error: 'the turn failed' });
  expect(model.sent).toEqual([second]);
  expect(model.entries.map(({ kind }) => kind)).toEqual(['user', 'error']);
});
