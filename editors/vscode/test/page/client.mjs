// Another client of the same workspace, for many tasks at once: LSP's framing and two methods.
import { spawn } from 'node:child_process';

export function connect(program, cwd, env) {
  const child = spawn(program, ['serve'], { cwd, env, stdio: ['pipe', 'pipe', 'inherit'] });
  const waiting = new Map();
  let next = 1;
  let buffer = Buffer.alloc(0);
  child.stdout.on('data', (data) => {
    buffer = Buffer.concat([buffer, data]);
    for (;;) {
      const head = buffer.indexOf('\r\n\r\n');
      if (head < 0) return;
      const length = Number(
        /content-length: (\d+)/i.exec(buffer.subarray(0, head).toString())?.[1],
      );
      if (buffer.length < head + 4 + length) return;
      const message = JSON.parse(buffer.subarray(head + 4, head + 4 + length).toString());
      buffer = buffer.subarray(head + 4 + length);
      if (message.method === undefined) {
        const { done, fail } = waiting.get(message.id);
        if (message.error) fail(new Error(message.error.message));
        else done(message.result);
      }
    }
  });
  const send = (message) => {
    const body = JSON.stringify({ jsonrpc: '2.0', ...message });
    child.stdin.write(`Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  };
  return {
    call(method, params) {
      const id = next++;
      send({ id, method, params });
      return new Promise((done, fail) => waiting.set(id, { done, fail }));
    },
    async start() {
      await this.call('initialize', { processId: process.pid, rootUri: null, capabilities: {} });
      send({ method: 'initialized', params: {} });
      return this;
    },
    end() {
      child.stdin.end();
    },
  };
}
