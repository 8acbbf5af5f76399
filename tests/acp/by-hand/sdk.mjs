// The TypeScript SDK of the Agent Client Protocol as a client of `meanwhile acp`, with a scripted model.
//
//     mkdir /tmp/acp-ts && cd /tmp/acp-ts && npm i @agentclientprotocol/sdk && cp CHECKOUT/tests/acp/by-hand/sdk.mjs .
//     node sdk.mjs CHECKOUT/target/debug/meanwhile
//
// The SDK checks every message against its schema. Covers prompts, tools, permissions, a background result while the
// prompt is held and without a prompt, cancel, load, two prompts at once, settings, commands, files, SIGTERM, and a
// missing model.
import * as acp from '@agentclientprotocol/sdk';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, mkdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Readable, Writable } from 'node:stream';

const binary = resolve(process.argv[2]);
const home = realpathSync(mkdtempSync(join(tmpdir(), 'acp-')));
const project = join(home, 'project');
mkdirSync(project);
const { agent: methods, client: ours } = acp.methods;

const SCRIPT = `
[[turn]]
think = 'Hm.'
text = 'I start it.'
[[turn.call]]
tool = 'background_run'
input = { command = 'until [ -e go ]; do sleep 0.02; done; echo built; exit 3' }
save = { task = '[0-9a-f]{8}' }

[[turn]]
text = 'It runs.'

[[turn]]
expect = ['[bg:{{task}}] exited 3']
text = 'It has failed.'

[[turn]]
[[turn.call]]
tool = 'edit_file'
input = { path = 'notes.txt', old_string = 'not saved', new_string = 'changed' }

[[turn]]
text = 'The notes are changed.'

[[turn]]
text = 'I wait.'
[[turn.call]]
tool = 'bash'
input = { command = 'sleep 600' }

[[turn]]
text = 'Four.'

[[turn]]
text = 'Five.'

[[turn]]
[[turn.call]]
tool = 'background_run'
input = { command = 'until [ -e gone ]; do sleep 0.02; done; echo late' }

[[turn]]
text = 'It runs on.'

[[turn]]
text = 'It was late.'
`;
writeFileSync(join(home, 'script.toml'), SCRIPT);
writeFileSync(join(project, 'notes.txt'), 'saved\n');

/** Starts an agent, calls `say` with the connection, and waits until the agent exits. */
async function talk(environment, say) {
  const env = { ...process.env, MEANWHILE_STATE_DIR: join(home, 'state'), ...environment };
  const child = spawn(binary, ['acp'], { env, stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((done) => child.on('exit', (code, signal) => done({ code, signal })));
  const heard = { updates: [], asked: 0, files: new Map(), child };
  heard.said = () =>
    heard.updates
      .filter((it) => it.sessionUpdate === 'agent_message_chunk')
      .map((it) => it.content.text)
      .join('');
  heard.until = async (words) => {
    while (!heard.said().includes(words)) await new Promise((done) => setTimeout(done, 10));
  };
  const stream = acp.ndJsonStream(Writable.toWeb(child.stdin), Readable.toWeb(child.stdout));
  const app = acp
    .client({ name: 'by hand' })
    .onRequest(ours.session.requestPermission, ({ params }) => {
      heard.asked += 1;
      return { outcome: { outcome: 'selected', optionId: params.options[0].optionId } };
    })
    .onRequest(ours.fs.readTextFile, ({ params }) => ({ content: heard.files.get(params.path) ?? '' }))
    .onRequest(ours.fs.writeTextFile, ({ params }) => {
      heard.files.set(params.path, params.content);
      return {};
    })
    .onNotification(ours.session.update, ({ params }) => {
      heard.updates.push(params.update);
    });
  await app.connectWith(stream, async (agent) => {
    const capabilities = { fs: { readTextFile: true, writeTextFile: true }, _meta: { terminal_output: true } };
    const hello = await agent.request(methods.initialize, {
      protocolVersion: acp.PROTOCOL_VERSION,
      clientCapabilities: capabilities,
    });
    await say(agent, heard, hello);
  });
  child.stdin.end();
  return ended;
}

const text = (words) => [{ type: 'text', text: words }];
const model = { MEANWHILE_MODEL: `script/${join(home, 'script.toml')}` };
let session;

const first = await talk(model, async (agent, heard, hello) => {
  assert.equal(hello.protocolVersion, 1);
  const made = await agent.request(methods.session.new, { cwd: project, mcpServers: [] });
  session = made.sessionId;
  assert.deepEqual(made.configOptions.map((it) => it.id), ['model', 'permissions', 'wake']);
  const ask = (words) => agent.request(methods.session.prompt, { sessionId: session, prompt: text(words) });
  const held = ask('does it build?');
  await heard.until('It runs.');
  await ask('/tasks');
  await heard.until('running for');
  writeFileSync(join(project, 'go'), '');
  assert.equal((await held).stopReason, 'end_turn');
  // The SDK delivers updates that arrived before an answer slightly after it.
  await heard.until('It has failed.');
  const exit = heard.updates.map((it) => it._meta?.terminal_exit).find(Boolean);
  assert.equal(exit.exit_code, 3);
  console.log('a result arrives while its prompt is held, and its terminal ends');

  heard.files.set(join(project, 'notes.txt'), 'not saved\n');
  assert.equal((await ask('change the notes')).stopReason, 'end_turn');
  assert.equal(heard.files.get(join(project, 'notes.txt')), 'changed\n');
  assert.equal(heard.asked, 1);
  console.log('a file is changed in the editor, after a permission request');

  const cancelled = ask('wait');
  await heard.until('I wait.');
  await agent.notify(methods.session.cancel, { sessionId: session });
  assert.equal((await cancelled).stopReason, 'cancelled');
  console.log('a turn is cancelled');

  const [four, five] = await Promise.all([ask('two and two?'), ask('and one?')]);
  assert.deepEqual([four.stopReason, five.stopReason], ['end_turn', 'end_turn']);
  await heard.until('Four.');
  await heard.until('Five.');
  console.log('two prompts are answered in order');

  const led = await agent.request(methods.session.setConfigOption, {
    sessionId: session,
    configId: 'permissions',
    value: 'ask',
  });
  assert.equal(led.configOptions.length, 3);
  const prompt = { sessionId: session, prompt: text('run on'), _meta: { meanwhile: { holdMs: 0 } } };
  assert.equal((await agent.request(methods.session.prompt, prompt)).stopReason, 'end_turn');
  writeFileSync(join(project, 'gone'), '');
  await heard.until('It was late.');
  console.log('a result arrives without a prompt');
});
assert.deepEqual(first, { code: 0, signal: null });

const second = await talk(model, async (agent, heard) => {
  await agent.request(methods.session.load, { sessionId: session, cwd: project, mcpServers: [] });
  await heard.until('It was late.');
  console.log('the session is loaded');
  const listed = await agent.request(methods.session.list, {});
  assert.equal(listed.sessions[0].sessionId, session);
  await agent.request(methods.session.delete, { sessionId: session });
  assert.equal((await agent.request(methods.session.list, {})).sessions.length, 0);
  console.log('and deleted');
  const signalled = Date.now();
  heard.child.kill('SIGTERM');
  await new Promise((done) => heard.child.on('exit', done));
  console.log(`SIGTERM ends it, after ${Date.now() - signalled} ms`);
}).catch((error) => error);
assert.ok(second.code === 0 || second.signal === 'SIGTERM' || second instanceof Error, String(second));

await talk({ MEANWHILE_MODEL: '', OPENAI_API_KEY: '', ANTHROPIC_API_KEY: '' }, async (agent) => {
  const refused = await agent.request(methods.session.new, { cwd: project, mcpServers: [] }).catch((it) => it);
  assert.equal(refused.code, -32000);
  console.log(`without a model: ${refused.message}`);
});
rmSync(home, { recursive: true });
console.log('all well');
