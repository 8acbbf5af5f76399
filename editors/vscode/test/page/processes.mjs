// The processes of one test run, recognised by the state directory in their environment.
import { readdirSync, readFileSync } from 'node:fs';

/** Daemons that serve a window of this server. */
export function daemons(server) {
  return processes(server).filter(({ command }) => /\/meanwhile\0serve/.test(command));
}

/** Processes with this text in their command line. */
export function running(server, text) {
  return processes(server).filter(({ command }) => command.includes(text));
}

function processes(server) {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8');
      if (!environment.includes(`MEANWHILE_STATE_DIR=${server.state}`)) return [];
      return [{ pid: Number(pid), command: readFileSync(`/proc/${pid}/cmdline`, 'utf8') }];
    } catch {
      // The process has exited in between, or is another user's.
      return [];
    }
  });
}

/** The pid of a process's parent. */
export function parentOf(pid) {
  return Number(/ \S (\d+) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))[1]);
}
