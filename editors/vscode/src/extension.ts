// Connects the parts. Everything shown comes from the daemon; a reloaded window fetches it again.

import * as vscode from 'vscode';
import { registerCommands } from './commands';
import { Folders } from './folders';
import { registerTools } from './lmTools';
import { ModelSettings } from './model';
import { Notices } from './notices';
import { OUTPUT_SCHEME, OutputDocuments } from './output/document';
import { OutputLinks } from './output/linkProvider';
import { Terminals } from './output/terminal';
import { Panel } from './panel/panel';
import { Problems } from './problems/problems';
import { StatusBar } from './statusbar';
import { TASK_TYPE, TaskProvider } from './taskProvider';
import { TaskTree } from './tasks/view';

let folders: Folders | undefined;

export function activate(context: vscode.ExtensionContext) {
  const log = vscode.window.createOutputChannel('Meanwhile', { log: true });
  const model = new ModelSettings(context.secrets, () => all.restart());
  const all: Folders = new Folders(
    log,
    context.extensionPath,
    () => model.get(),
    (folder) => panel.add(folder),
  );
  folders = all;
  const tree = new TaskTree(all);
  const terminals = new Terminals(all.events);
  const links = new OutputLinks(all, terminals);
  const documents = new OutputDocuments(all);
  const problems = new Problems(all, log);
  const panel: Panel = new Panel(all, terminals, context, log);
  const notices = new Notices(all, terminals, tree, panel);
  const status = new StatusBar(all, notices);
  const tasks = new TaskProvider(all);
  context.subscriptions.push(
    log,
    model,
    tree,
    terminals,
    problems,
    notices,
    status,
    panel,
    registerCommands({ folders: all, tree, terminals, documents, problems, notices, model, log }),
    registerTools(all),
    vscode.window.registerTerminalLinkProvider(links),
    vscode.workspace.registerTextDocumentContentProvider(OUTPUT_SCHEME, documents),
    vscode.tasks.registerTaskProvider(TASK_TYPE, tasks),
    vscode.workspace.onDidChangeConfiguration((change) => {
      const restarts = ['meanwhile.path', 'terminal.integrated.env.linux'];
      if (restarts.some((name) => change.affectsConfiguration(name))) all.restart();
    }),
    // From now on the workspace's own settings may be read.
    vscode.workspace.onDidGrantWorkspaceTrust(() => all.restart()),
    vscode.window.onDidChangeWindowState(({ focused }) => {
      // Another window may have cleared finished tasks, for which there is no push.
      if (focused) all.refetch().catch((error) => log.debug(error));
    }),
  );
  all.start();
  const parts = {
    folders: all,
    tree,
    terminals,
    links,
    problems,
    notices,
    status,
    log,
    tasks,
    panel,
  };
  // Other extensions can read the return value, and through its `folders` the key.
  return context.extensionMode === vscode.ExtensionMode.Test ? parts : undefined;
}

/** What the tests in the extension host get. */
export type Api = NonNullable<ReturnType<typeof activate>>;

export async function deactivate(): Promise<void> {
  await folders?.dispose();
}
