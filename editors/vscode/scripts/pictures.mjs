// Takes the pictures of the README, light and dark, from a real VS Code with the package installed
// and a scripted model: docs/pictures/vscode-{light,dark}.png.
//   usage: run-tests' environment, then: node scripts/pictures.mjs [X.vsix [FOLDER]]
// With a folder, writes them there, also in high contrast and of a window of 800 pixels.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { launch, Window } from '../test/page/browser.mjs';
import { until } from '../test/page/runner.mjs';
import { startServer } from '../test/server.mjs';

const vsix = resolve(process.argv[2] ?? 'meanwhile-linux-x64.vsix');
const [, , , folder] = process.argv;
const out = folder ? resolve(folder) : resolve(import.meta.dirname, '../../../docs/pictures');
const THEMES = {
  light: 'Default Light Modern',
  dark: 'Default Dark Modern',
  ...(folder ? { contrast: 'Default High Contrast' } : {}),
};
const WIDTHS = folder ? [1360, 800] : [1360];
mkdirSync(out, { recursive: true });

/** A build whose output has colours and progress, as builds have. */
const BUILD = `#!/bin/sh
for n in 8 16 24 32 40 48 56 64 72 80 88 96; do
  printf '\\033[32m   Compiling\\033[0m crate-%s v0.%s.0 (%s%%)\\n' $n $n $n
  sleep 0.35
done
printf '\\033[33mwarning\\033[0m: unused variable: \`next\`\\n  --> src/parse.rs:3:9\\n'
printf '\\033[32m    Finished\\033[0m release in 4.21s\\n'
`;
const TESTS = `#!/bin/sh
printf 'running 148 tests\\n'; sleep 1.4
printf 'test parse::empty ... \\033[32mok\\033[0m\\ntest parse::deep ... \\033[31mFAILED\\033[0m\\n'
exit 101
`;
const CODE = `//! Reads what people write.

pub fn parse(text: &str) -> Option<Item> {
    let next = text.lines().next()?;
    let (name, value) = text.split_once('=')?;
    Some(Item { name: name.trim().into(), value: value.trim().into() })
}

pub struct Item {
    pub name: String,
    pub value: String,
}
`;
const SCRIPT = `
model = "scripted"
context_window = 20000
pace_ms = 30

[[turn]]
text = "I start the release build and the tests **in the background**, and read the parser meanwhile."
[[turn.call]]
tool = "background_run"
input = { command = "./build --release" }
[[turn.call]]
tool = "background_run"
input = { command = "./run-tests" }

[[turn]]
delay_ms = 1200
text = "The code first."
[[turn.call]]
tool = "bash"
input = { command = "sleep 0.7; cat src/parse.rs" }

[[turn]]
when = "place changed"
text = "It splits the first line now, and the warning is gone with it."

[[turn]]
when = "Fix both"
[[turn.call]]
tool = "edit_file"
input = { path = "src/parse.rs", old_string = """
    let next = text.lines().next()?;
    let (name, value) = text.split_once('=')?;""", new_string = """
    let next = text.lines().next()?;
    let (name, value) = next.split_once('=')?;""" }

[[turn]]
expect = ["exited 101"]
delay_ms = 900
text = "\`parse::deep\` fails: \`next\` is never used, so only the first line should be split."

[[turn]]
messages = ["background"]
delay_ms = 700
text = "The release build is done, with one warning about the same variable. Shall I fix both?"
`;

for (const [look, theme] of Object.entries(THEMES)) {
  const server = await startServer([], {
    vsix,
    model: 'script.toml',
    settings: {
      'workbench.colorTheme': theme,
      'editor.minimap.enabled': false,
      'breadcrumbs.enabled': false,
      'problems.visibility': true,
    },
    files: {
      '../script.toml': SCRIPT,
      build: BUILD,
      'run-tests': TESTS,
      'src/parse.rs': CODE,
    },
  });
  execFileSync('chmod', [
    '+x',
    join(server.workspace, 'build'),
    join(server.workspace, 'run-tests'),
  ]);
  const browser = await launch();
  const window = await Window.open(browser, server, { width: 1360, height: 860 });
  const { page } = window;
  await window.showTasks();
  await window.command('Go to File...');
  await page.locator('.quick-input-widget input[type=text]').fill('parse.rs');
  await page.locator('.quick-input-list .monaco-list-row', { hasText: 'parse.rs' }).first().click();
  await window.run('npm run lint');
  await window.run('cargo bench');
  await window.run('python3 -m http.server 0');
  await window.showTimeline();
  await window.showChat();
  const panel = window.chat();
  await panel.locator('textarea:enabled').fill('Build a release and run the tests');
  await panel.locator('textarea').press('Enter');
  const done = panel.locator('.agent-text', { hasText: 'Shall I fix both' });
  // Allow everything that the agent asks for.
  const ask = panel.locator('.ask button[data-kind=allow_once]').first();
  await until(
    async () => {
      if (await ask.isVisible().catch(() => false)) await ask.click().catch(() => undefined);
      return done.isVisible().catch(() => false);
    },
    'the last words of the agent',
    120_000,
  );
  await window.command('Notifications: Clear All Notifications');
  await page.mouse.move(700, 250);
  const shoot = async (name) => {
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 860 });
      await page.waitForTimeout(500);
      const png = await page.screenshot();
      const size = width === 1360 ? '' : `-${width}`;
      const file = join(out, `vscode-${name}-${look}${size}.png`);
      writeFileSync(file, png);
      console.log(file, png.length);
    }
    await page.setViewportSize({ width: 1360, height: 860 });
  };
  await shoot('agent');
  await panel.locator('textarea').fill('Fix both');
  await panel.locator('textarea').press('Enter');
  await panel.locator('.ask button.review').click();
  await page.locator('.editor.modified .view-line', { hasText: 'next.split_once' }).waitFor();
  await page.mouse.move(700, 250);
  await shoot('change');
  await panel.locator('.ask button[data-kind=allow_once]').click();
  await panel.locator('.agent-text', { hasText: 'It splits the first line now' }).waitFor();
  await page.locator('.editor.modified').waitFor({ state: 'detached' });
  await window.run('./build --release');
  await window.output('./build', 'Compiling');
  await page.mouse.move(700, 250);
  // Wait until the terminal shows enough of the build, and the list shows its progress.
  await window.terminal('crate-40').waitFor();
  await window.row(/[4-9]\d%/).waitFor();
  await shoot('tasks');
  await browser.close();
  await server.dispose();
}
