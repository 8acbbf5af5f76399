import { expect, test } from 'vitest';
import type * as vscode from 'vscode';
import type { Folder, Folders } from '../../src/folders';
import type { Terminals } from '../../src/output/terminal';
import { Panel } from '../../src/panel/panel';
import { ERRORS } from '../../src/protocol/generated';
import { EventEmitter } from './editor';

const SESSION = '00000000-0000-4000-8000-000000000001';

/** A window whose last session is open; the test decides whether its daemon has a model. */
async function place() {
  const connected = new EventEmitter<void>();
  const events = {
    changed: new EventEmitter<unknown>(),
    state: new EventEmitter<unknown>(),
    folders: new EventEmitter<unknown>(),
  };
  let model = false;
  const request = async (method: string) => {
    if (method === 'session/list') return { sessions: [{ sessionId: SESSION, title: 'before' }] };
    if (method === 'session/load' && !model) {
      throw Object.assign(new Error('no model: nothing is set'), { code: ERRORS.noModel });
    }
    if (method === 'session/trace') throw new Error('there is none');
    return {};
  };
  const folder = {
    workspaceFolder: { uri: { fsPath: '/w', toString: () => 'file:///w' } },
    store: { all: () => [], size: 0 },
    daemon: {
      state: { kind: 'running' },
      can: () => true,
      onPush: () => undefined,
      onRequest: () => undefined,
      onDidConnect: connected.event,
      request,
    },
  } as unknown as Folder;
  const panel = new Panel(
    { all: () => [folder], events } as unknown as Folders,
    {} as Terminals,
    { workspaceState: { get: () => SESSION, update: () => undefined } } as never,
    { warn: () => undefined } as unknown as vscode.LogOutputChannel,
  );
  panel.add(folder);
  const settled = () => new Promise((done) => setTimeout(done));
  return {
    panel,
    connect: async (withModel: boolean) => {
      model = withModel;
      events.state.fire(folder);
      connected.fire();
      await settled();
    },
  };
}

test('without a model there are buttons also where a session was open before', async () => {
  const { panel, connect } = await place();
  await connect(false);
  expect(panel.snapshot()).toMatchObject({
    agent: { kind: 'noModel', reason: 'no model: nothing is set' },
    session: undefined,
  });
  // Setting a key starts another daemon.
  await connect(true);
  expect(panel.snapshot()).toMatchObject({ agent: { kind: 'ready' }, session: { id: SESSION } });
  expect(panel.snapshot().session?.held).toBeUndefined();
});
