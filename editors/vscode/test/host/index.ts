// Runs inside the real extension host. The order matters little: each test starts its own tasks.

import * as vscode from 'vscode';
import { runAll, until } from './harness';
import { api } from './setup';

import './daemon';
import './tasks';
import './output';
import './integrations';
import './load';

export async function run(): Promise<void> {
  const parts = await api();
  await until(() => parts.folders.all()[0]?.loaded, 'the list of the first folder').catch(
    (error) => {
      const states = parts.folders.all().map(({ name, daemon }) => ({ name, state: daemon.state }));
      throw new Error(`${(error as Error).message}; folders: ${JSON.stringify(states)}`);
    },
  );
  try {
    await runAll();
  } finally {
    for (const folder of parts.folders.all()) {
      await Promise.all(folder.store.running().map((task) => folder.stop(task.id)));
    }
    await vscode.commands.executeCommand('workbench.action.closeAllEditors');
  }
}
