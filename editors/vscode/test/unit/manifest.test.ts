import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
const { contributes, capabilities, activationEvents } = JSON.parse(
  readFileSync(join(root, 'package.json'), 'utf8'),
);
const commands: string[] = contributes.commands.map(({ command }: { command: string }) => command);
const source = ['commands', 'panel/panel', 'extension']
  .map((name) => readFileSync(join(root, `src/${name}.ts`), 'utf8'))
  .join('\n');

test('an untrusted workspace names no program', () => {
  expect(capabilities.untrustedWorkspaces.supported).toBe('limited');
  expect(capabilities.untrustedWorkspaces.restrictedConfigurations).toContain('meanwhile.path');
  expect(activationEvents).toEqual(['onStartupFinished']);
});

test('every command is registered, and every menu and key names one', () => {
  for (const command of commands) {
    const name = command.replace('meanwhile.', '');
    expect(source, command).toMatch(new RegExp(`register\\w*\\(\\s*'(meanwhile\\.)?${name}'`));
  }
  const menus = Object.values(
    contributes.menus as { [menu: string]: { command: string }[] },
  ).flat();
  const focus = ['tasks', 'timeline', 'chat'].map((view) => `meanwhile.${view}.focus`);
  for (const { command } of [...menus, ...contributes.keybindings]) {
    expect([...commands, ...focus]).toContain(command);
  }
});

test('the README names every setting', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  for (const setting of Object.keys(contributes.configuration.properties)) {
    expect(readme).toContain(`\`${setting}\``);
  }
});

test('the view has VS Code\u2019s colours only', () => {
  const css = readFileSync(join(root, 'webview/panel.css'), 'utf8');
  expect(css.match(/#[0-9a-f]{3,8}\b|\b(rgb|hsl)a?\(/gi)).toBeNull();
});
