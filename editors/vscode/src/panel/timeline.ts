// The pieces of a timeline, sorted for drawing, and its time axis. Pure. The daemon provides the events,
// their text and colours; only positions are computed here.

import type { Piece, Timeline } from '../protocol/generated';

type Of<T extends Piece['type']> = Extract<Piece, { type: T }>;

export type Segment = Of<'segment'>;
export type Mark = Of<'mark'>;
/** A segment or a mark, with its times as numbers; `to` is undefined while it goes on. */
export interface Thing {
  piece: Segment | Mark;
  from: number;
  to: number | undefined;
}
export type Lane = Of<'lane'> & { things: Thing[] };
export type Gap = Of<'gap'> & { start: number; end: number };

export const NOTHING: Timeline = { pieces: [], legend: [], leftOut: 0 };

/** Adds pieces; each replaces the piece with the same key. */
export function place({ pieces: old, ...timeline }: Timeline, news: Piece[]): Timeline {
  const pieces = new Map([...old, ...news].map((piece) => [piece.key, piece]));
  return { ...timeline, pieces: [...pieces.values()] };
}

/** Steps of the axis, in milliseconds. */
const STEPS = [
  10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5,
  72e5, 108e5, 216e5, 432e5, 864e5,
];
/** The drawn length of a gap, as a share of the time outside gaps. */
const GAP_SHARE = 0.03;
const GAP_LEAST_MS = 1_000;

/** A timeline ready to be drawn; for a recording, its state at `until`. */
export class Picture {
  readonly lanes: Lane[] = [];
  readonly arrows: (Of<'arrow'> & { moment: number })[] = [];
  readonly gaps: Gap[] = [];
  readonly start: number;
  /** Undefined while something runs. */
  readonly end: number | undefined;
  /** The drawn length of a gap, in milliseconds. */
  private readonly gapMs: number;

  constructor({ pieces }: Timeline, until = Number.POSITIVE_INFINITY) {
    const lanes = new Map<string, Lane>();
    let [start, end, goesOn] = [Number.POSITIVE_INFINITY, 0, false];
    const add = (piece: Thing['piece'], from: number, to: number | undefined) => {
      if (from > until) return;
      // At this time of the recording it has not ended yet.
      const open = to !== undefined && to > until;
      const look = piece.kind === 'task' ? { look: 'running' as const } : {};
      const thing = open
        ? { piece: { ...piece, ...look, says: [] }, from, to: undefined }
        : { piece, from, to };
      lanes.get(piece.lane)?.things.push(thing);
      start = Math.min(start, from);
      end = Math.max(end, thing.to ?? from);
      // A waiting result does not keep the axis moving: it may wait for days.
      goesOn ||= thing.to === undefined && piece.kind !== 'result';
    };
    for (const piece of pieces) {
      if (piece.type === 'lane') lanes.set(piece.key, { ...piece, things: [] });
    }
    for (const piece of pieces) {
      switch (piece.type) {
        case 'lane':
          break;
        case 'segment':
          add(
            piece,
            Date.parse(piece.from),
            piece.to === undefined ? undefined : Date.parse(piece.to),
          );
          break;
        case 'mark':
          add(piece, Date.parse(piece.at), Date.parse(piece.at));
          break;
        case 'arrow': {
          const moment = Date.parse(piece.at);
          if (moment <= until) this.arrows.push({ ...piece, moment });
          break;
        }
        case 'gap':
          this.gaps.push({ ...piece, start: Date.parse(piece.from), end: Date.parse(piece.to) });
          break;
      }
    }
    this.gaps.sort((a, b) => a.start - b.start);
    this.lanes.push(...lanes.values());
    this.start = Number.isFinite(start) ? start : 0;
    this.end = goesOn ? undefined : end;
    const idle = this.gaps.reduce((sum, gap) => sum + gap.end - gap.start, 0);
    this.gapMs = Math.max(GAP_LEAST_MS, (end - this.start - idle) * GAP_SHARE);
  }

  /** Converts a time to the drawn axis, on which all gaps have the same length. */
  fold(at: number): number {
    let cut = 0;
    for (const { start, end } of this.gaps) {
      if (at <= start) break;
      cut += (Math.min(at, end) - start) * (1 - this.gapMs / (end - start));
    }
    return at - cut;
  }

  /** The times of the axis lines, at most one per `gap` pixels, and the step between them. */
  axis(from: number, to: number, width: number, gap = 90): { lines: number[]; step: number } {
    const step =
      STEPS.find((step) => (step / (to - from)) * width >= gap) ??
      Math.ceil((to - from) / (width / gap) / 864e5) * 864e5;
    const lines: number[] = [];
    // Each stretch between two gaps has its own lines.
    const starts = [Number.NEGATIVE_INFINITY, ...this.gaps.map(({ end }) => end)];
    for (const [n, begin] of starts.entries()) {
      const end = this.gaps[n]?.start ?? Number.POSITIVE_INFINITY;
      // How much the gaps before it are shortened.
      const cut = Number.isFinite(begin) ? begin - this.fold(begin) : 0;
      const first = Math.max(begin, from + cut);
      for (let at = Math.ceil(first / step) * step; at <= Math.min(end, to + cut); at += step) {
        lines.push(at);
      }
    }
    return { lines, step };
  }
}
