import { expect, test } from 'vitest';
import type * as vscode from 'vscode';
import { Changes } from '../../src/panel/changes';
import { commands, workspace } from './editor';

test('an automatic save that is under way when a proposal is settled finds its text', async () => {
  const changes = new Changes();
  await changes.propose(1, { path: '/w/a', oldText: 'a', newText: 'b' }, []);
  const [, , uri] = commands.executeCommand.mock.lastCall as unknown as [string, 0, vscode.Uri];
  expect(changes.keyOf(uri)).toBe(1);
  workspace.textDocuments = [{ uri, save: async () => true }];
  await changes.forget(1);
  expect(changes.keyOf(uri)).toBeUndefined();
  changes.writeFile(uri, new TextEncoder().encode('c'));
  expect(new TextDecoder().decode(changes.readFile(uri))).toBe('c');
  // The text is dropped with its document.
  workspace.textDocuments = [];
  for (const [closed] of workspace.onDidCloseTextDocument.mock.calls) closed({ uri });
  expect(() => changes.readFile(uri)).toThrow('there is no');
});

test('the text of a proposal whose tab was closed before the answer is dropped with the answer', async () => {
  const changes = new Changes();
  await changes.propose(2, { path: '/w/a', oldText: 'a', newText: 'b' }, []);
  const [, , uri] = commands.executeCommand.mock.lastCall as unknown as [string, 0, vscode.Uri];
  for (const [closed] of workspace.onDidCloseTextDocument.mock.calls) closed({ uri });
  expect(new TextDecoder().decode(changes.readFile(uri))).toContain('b');
  await changes.forget(2);
  expect(() => changes.readFile(uri)).toThrow('there is no');
});
