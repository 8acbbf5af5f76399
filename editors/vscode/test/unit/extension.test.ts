import { expect, test, vi } from 'vitest';
import type * as vscode from 'vscode';
import { activate } from '../../src/extension';
import { EventEmitter, ExtensionMode } from './editor';

vi.mock('../../src/commands');
vi.mock('../../src/folders');
vi.mock('../../src/lmTools');
vi.mock('../../src/notices');
vi.mock('../../src/output/document');
vi.mock('../../src/output/linkProvider');
vi.mock('../../src/output/terminal');
vi.mock('../../src/panel/panel');
vi.mock('../../src/problems/problems');
vi.mock('../../src/statusbar');
vi.mock('../../src/taskProvider');
vi.mock('../../src/tasks/view');

test.each([
  [ExtensionMode.Production, false],
  [ExtensionMode.Development, false],
  [ExtensionMode.Test, true],
])('in mode %i another extension gets at our parts, and so at the key: %s', (mode, given) => {
  const context = {
    extensionMode: mode,
    extensionPath: '/extension',
    secrets: { onDidChange: new EventEmitter().event },
    subscriptions: [],
  };
  const parts = activate(context as unknown as vscode.ExtensionContext);
  expect(parts !== undefined).toBe(given);
});
