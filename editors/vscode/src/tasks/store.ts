// The known tasks of one folder: the daemon's list, updated by its pushes. Pure: no VS Code, no I/O.
// Decides nothing about tasks; if a push and a list disagree, the later state of a task wins, since an
// end is final. Steps of agents' turns are kept by id, for the panel, and are in no list.

import type { Changed, Task } from '../protocol/generated';

/** Tasks that changed; `structure` if any was added, removed or moved in the order. */
export interface StoreChange {
  structure: boolean;
  tasks: Task[];
}

export class TaskStore {
  private readonly byId = new Map<string, Task>();

  get(id: string): Task | undefined {
    return this.byId.get(id);
  }

  /** The tasks in the daemon's order, without steps. */
  all(): Task[] {
    return this.known().sort((a, b) => (a.shown.order < b.shown.order ? -1 : 1));
  }

  get size(): number {
    return this.known().length;
  }

  running(): Task[] {
    return this.all().filter((task) => !hasEnded(task));
  }

  /**
   * Takes a fresh list. Removes tasks that it lacks, except those added after it was requested:
   * `known` are the ids from the time of the request.
   */
  replace(tasks: Task[], known: ReadonlySet<string>): StoreChange {
    const listed = new Set(tasks.map((task) => task.id));
    for (const id of this.byId.keys()) {
      if (!listed.has(id) && known.has(id)) this.forget(id);
    }
    for (const task of tasks) this.put(task);
    return { structure: true, tasks };
  }

  ids(): Set<string> {
    return new Set(this.byId.keys());
  }

  /** Adds or updates a task from a reply or a push. */
  upsert(task: Task): StoreChange {
    const before = this.byId.get(task.id);
    this.put(task);
    const now = this.byId.get(task.id) ?? task;
    const moved = before?.shown.order !== now.shown.order || before?.role !== now.role;
    return { structure: moved, tasks: [now] };
  }

  progress(id: string, percent?: number, message?: string): StoreChange {
    const task = this.byId.get(id);
    if (!task || hasEnded(task)) return { structure: false, tasks: [] };
    const progress = {
      ...(percent === undefined ? {} : { percent }),
      ...(message === undefined ? {} : { message }),
    };
    return this.upsert({ ...task, progress });
  }

  /** Whether the daemon's snapshot lists other running tasks than are known here. */
  changed(snapshot: Changed): boolean {
    const running = new Set(snapshot.running);
    if (snapshot.running.some((id) => !this.byId.has(id))) return true;
    return [...this.byId.values()].some((task) => !hasEnded(task) && !running.has(task.id));
  }

  remove(ids: Iterable<string>): StoreChange {
    for (const id of ids) this.forget(id);
    return { structure: true, tasks: [] };
  }

  /**
   * How long a command usually takes: the median of the runs that exited by themselves. Undefined if
   * there are none, or if they are too short to forecast. `meanwhile wait` uses the same rule.
   */
  usualMs(command: string): number | undefined {
    const past: number[] = [];
    for (const task of this.byId.values()) {
      if (task.command === command && task.state === 'exited' && task.durationMs !== undefined) {
        past.push(task.durationMs);
      }
    }
    past.sort((a, b) => a - b);
    const median = past[Math.floor(past.length / 2)];
    return median !== undefined && median >= SHORTEST_FORECAST_MS ? median : undefined;
  }

  private put(task: Task): void {
    const before = this.byId.get(task.id);
    if (before && hasEnded(before) && !hasEnded(task)) return;
    // A step that became a task does not become a step again, even if an older message says so.
    const { role, ...roleless } = task;
    this.byId.set(task.id, before && !isStep(before) ? roleless : task);
  }

  private known(): Task[] {
    return [...this.byId.values()].filter((task) => !isStep(task));
  }

  private forget(id: string): void {
    this.byId.delete(id);
  }
}

const SHORTEST_FORECAST_MS = 500;

/** Whether an agent runs it in the foreground, as a step of its turn. */
export function isStep(task: Task): boolean {
  return task.role === 'step';
}

export function hasEnded({ state }: Task): boolean {
  return state !== 'queued' && state !== 'running' && state !== 'stopping';
}
