// Draws a timeline: lanes of bars and marks along one time axis. Handles zoom, pan, hover and the
// keyboard. Elements are reused when the timeline is redrawn, so that the focus and a screen reader's
// position do not change.

import {
  type Gap,
  type Lane,
  type Mark,
  NOTHING,
  Picture,
  type Segment,
  type Thing,
} from '../src/panel/timeline';
import type { Timeline } from '../src/protocol/generated';
import { elapsed } from '../src/tasks/describe';
import { assign, h, iconButton, s } from './dom';

const LANE_HEIGHT = 24;
const AXIS_HEIGHT = 20;
/** The space between the last moment and the right edge, as a share of the visible range. */
const MARGIN = 0.03;
const TICK_MS = 500;
/** The width of a time on the axis, in pixels. */
const CLOCK_WIDTH = 80;
/** How many lanes are drawn above and below the visible ones, so that scrolling does not show a blank. */
const SPARE_LANES = 6;
const SMALLEST_SPAN_MS = 50;
/** The initial range of a long timeline: its last minutes. */
const FIRST_VIEW_MS = 15 * 60_000;

/** How long a recording pauses at its end before it plays again. */
const REST_MS = 4_000;

export class TimelineView {
  readonly element: HTMLElement;
  private readonly labels: HTMLElement;
  private readonly scroller: HTMLElement;
  private readonly svg: SVGSVGElement;
  private readonly hover: HTMLElement;
  private readonly empty: HTMLElement;
  private readonly legend = h('div', { class: 'legend' });
  private readonly elements = new Map<string, SVGElement | HTMLElement>();
  private used = new Set<string>();
  private timeline: Timeline = NOTHING;
  private picture = new Picture(NOTHING);
  /** When the recording started to play. */
  private played = 0;
  /** The visible time range, with gaps folded; undefined: everything, up to the present. */
  private window: { from: number; to: number } | undefined;
  private frame: number | undefined;
  private focused: string | undefined;
  private story: string | undefined;

  constructor(private readonly onOpen: (taskId: string) => void) {
    this.svg = s('svg', { class: 'lanes', role: 'group', 'aria-label': 'Timeline' });
    this.labels = h('div', { class: 'labels', 'aria-hidden': 'true' });
    this.hover = h('div', { class: 'hover', role: 'tooltip', hidden: true });
    this.empty = h('p', { class: 'empty' });
    this.scroller = h('div', { class: 'lane-scroller' }, this.labels, this.svg);
    this.element = h(
      'section',
      { class: 'timeline', 'aria-label': 'Timeline' },
      h(
        'div',
        { class: 'tools', role: 'toolbar', 'aria-label': 'Zoom' },
        iconButton('zoom-in', 'Zoom in (+)', () => this.zoom(0.5)),
        iconButton('zoom-out', 'Zoom out (-)', () => this.zoom(2)),
        iconButton('screen-full', 'Show everything (0)', () => this.fit()),
      ),
      this.scroller,
      this.legend,
      this.empty,
      this.hover,
    );
    this.scroller.addEventListener('wheel', (event) => this.wheel(event), { passive: false });
    this.scroller.addEventListener('pointerdown', (event) => this.drag(event));
    this.scroller.addEventListener('keydown', (event) => this.key(event));
    this.svg.addEventListener('pointerover', (event) => this.point(event.target));
    this.svg.addEventListener('pointerleave', () => this.point(undefined));
    this.svg.addEventListener('focusin', (event) => {
      this.focused = (event.target as Element).getAttribute('data-key') ?? undefined;
      this.point(event.target);
    });
    this.svg.addEventListener('focusout', () => this.point(undefined));
    this.svg.addEventListener('dblclick', (event) => this.open(event.target));
    this.scroller.addEventListener('scroll', () => this.drawSoon());
    new ResizeObserver(() => this.draw()).observe(this.scroller);
    window.setInterval(() => {
      if (document.hidden) return;
      if (this.timeline.recorded) this.picture = new Picture(this.timeline, this.now());
      if (this.picture.end === undefined || this.timeline.recorded) this.draw();
    }, TICK_MS);
  }

  /** `story` identifies the timeline: for a different one, the visible range is reset. */
  show(timeline: Timeline, story: string): void {
    this.timeline = timeline;
    if (story !== this.story) this.played = Date.now();
    this.picture = new Picture(timeline, timeline.recorded ? this.now() : undefined);
    if (story !== this.story) {
      this.story = story;
      this.window = undefined;
      const { start, end } = this.picture;
      const last = end === undefined ? undefined : this.picture.fold(end);
      if (last !== undefined && last - start > 4 * FIRST_VIEW_MS) {
        this.window = { from: last - FIRST_VIEW_MS, to: last + FIRST_VIEW_MS * MARGIN };
      }
    }
    this.drawSoon();
  }

  /** The current time; for a recording, the time that it has reached. */
  private now(): number {
    if (!this.timeline.recorded) return Date.now();
    const { start, end = start } = new Picture(this.timeline);
    if (window.matchMedia('(prefers-reduced-motion: reduce)').matches) return end;
    return Math.min(end, start + ((Date.now() - this.played) % (end - start + REST_MS)));
  }

  private drawSoon(): void {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.draw();
    });
  }

  /** The first and the last lane to draw; lanes out of sight are not drawn. */
  private inSight(): [number, number] {
    const { scrollTop, clientHeight } = this.scroller;
    return [
      Math.floor((scrollTop - AXIS_HEIGHT) / LANE_HEIGHT) - SPARE_LANES,
      Math.ceil((scrollTop + clientHeight) / LANE_HEIGHT) + SPARE_LANES,
    ];
  }

  private range(): { from: number; to: number } {
    if (this.window) return this.window;
    const { start, end } = this.picture;
    const last = this.picture.fold(end ?? this.now());
    const whole = Math.max(last - start, 1_000);
    // Show everything, but of a timeline of hours only the last quarter of an hour.
    const from = end === undefined && whole > 4 * FIRST_VIEW_MS ? last - FIRST_VIEW_MS : start;
    const shown = Math.max(last - from, 1_000);
    return { from: from - shown * 0.01, to: last + shown * MARGIN };
  }

  private get width(): number {
    return Math.max(50, this.svg.clientWidth);
  }

  private draw(): void {
    const { lanes, arrows, gaps } = this.picture;
    const { from, to } = this.range();
    this.empty.textContent = this.timeline.recorded
      ? 'Nothing has run here yet. This is a recording of `meanwhile demo`.'
      : 'Nothing has run yet.';
    this.empty.hidden = lanes.length > 0 && !this.timeline.recorded;
    this.scroller.hidden = lanes.length === 0;
    // The width is 0 while the view is hidden.
    const { width } = this;
    const now = this.now();
    const x = (at: number) =>
      Math.round(((this.picture.fold(at) - from) / (to - from)) * width * 100) / 100;
    const clip = (value: number) => Math.min(width + 4, Math.max(-4, value));
    const height = AXIS_HEIGHT + lanes.length * LANE_HEIGHT + 4;
    this.used = new Set();
    assign(this.svg, { height, viewBox: `0 0 ${width} ${height}`, width: '100%' });

    // Gaps first, so that no time is drawn over the text of a gap.
    const taken = this.drawGaps(gaps, x, height);
    const { lines, step } = this.picture.axis(from, to, width);
    for (const at of lines) {
      const key = `axis:${at}`;
      const line = this.get(key, 'line', { class: 'grid' });
      assign(line, { x1: x(at), x2: x(at), y1: AXIS_HEIGHT - 4, y2: height });
      const right = x(at) + CLOCK_WIDTH;
      // A time that the edge cuts off would be misread.
      if (right > width || taken.some(([a, b]) => x(at) < b && right > a)) continue;
      const text = this.get(`${key}:text`, 'text', { class: 'axis' });
      assign(text, { x: x(at) + 3, y: 13 });
      text.textContent = clock(at, step);
    }
    const rows = new Map(lanes.map((lane, index) => [lane.key, AXIS_HEIGHT + index * LANE_HEIGHT]));
    for (const arrow of arrows) {
      const [a, b] = [rows.get(arrow.from), rows.get(arrow.to)];
      const at = x(arrow.moment);
      if (a === undefined || b === undefined || at < 0 || at > width) continue;
      const path = this.get(arrow.key, 'path', { class: `arrow ${arrow.key.split(':')[0]}` });
      const [top, bottom] = [a + LANE_HEIGHT / 2, b + LANE_HEIGHT / 2];
      const head = bottom > top ? -4 : 4;
      const d = `M${at} ${top}V${bottom}M${at - 3} ${bottom + head}L${at} ${bottom}L${at + 3} ${bottom + head}`;
      assign(path, { d });
    }
    const [first, last] = this.inSight();
    for (const [index, lane] of lanes.entries()) {
      // The focused element stays, because removing it would lose the keyboard focus.
      const held = lane.things.some(({ piece }) => piece.key === this.focused);
      if ((index < first || index > last) && !held) continue;
      const y = rows.get(lane.key) ?? 0;
      const rule = this.get(`rule:${lane.key}`, 'line', { class: 'rule' });
      assign(rule, { x1: 0, x2: width, y1: y + LANE_HEIGHT, y2: y + LANE_HEIGHT });
      this.drawLane(lane, y, x, clip, now);
    }
    this.drawLabels();
    this.drawLegend();
    for (const [key, element] of this.elements) {
      if (!this.used.has(key)) {
        element.remove();
        this.elements.delete(key);
      }
    }
    this.rove();
  }

  /** Draws the gaps, each with its length; returns the parts of the axis that their texts cover. */
  private drawGaps(gaps: Gap[], x: (at: number) => number, height: number): [number, number][] {
    return gaps.map(({ key, start, end, label }) => {
      const [left, right] = [x(start), x(end)];
      const band = this.get(key, 'rect', { class: 'gap' });
      const width = Math.max(1, right - left);
      assign(band, { x: left, y: AXIS_HEIGHT, width, height: height - AXIS_HEIGHT });
      const text = this.get(`${key}:text`, 'text', { class: 'axis gap-text' });
      const middle = (left + right) / 2;
      assign(text, { x: middle, y: 13 });
      text.textContent = `⋯ ${label} ⋯`;
      const half = 4 * label.length + 10;
      return [middle - half, middle + half];
    });
  }

  private drawLane(
    lane: Lane,
    y: number,
    x: (at: number) => number,
    clip: (value: number) => number,
    now: number,
  ): void {
    // A call number that the next one or the edge cuts off would be misread. Beside a diamond there is room.
    let free = 0;
    const carry = new Set(
      lane.things.map(({ piece }) => (piece.type === 'mark' ? piece.call : undefined)),
    );
    for (const { piece, from, to } of lane.things) {
      const [left, right] = [clip(x(from)), clip(x(to ?? Math.max(now, from)))];
      const common = {
        'data-task': lane.taskId ?? ('taskId' in piece ? piece.taskId : undefined),
        tabindex: -1,
      };
      const label = { 'aria-label': spoken(lane, { piece, from, to }, now) };
      if (piece.type === 'mark') {
        if ((left < -3 || left > this.width + 3) && piece.key !== this.focused) continue;
        const path = this.get(piece.key, 'path', { ...common, role: 'img' });
        const d = shape(piece.kind, left, y + LANE_HEIGHT / 2);
        assign(path, { class: `mark ${piece.kind}`, d, ...label });
        continue;
      }
      const [top, tall] = box(piece.kind, piece.row);
      const rect = this.get(piece.key, 'rect', {
        ...common,
        role: common['data-task'] === undefined ? 'img' : 'button',
      });
      const thin = piece.kind === 'result';
      assign(rect, {
        class: `span ${piece.kind} ${piece.look}${to === undefined ? ' open' : ''}`,
        x: left,
        y: y + top,
        width: Math.max(thin ? 1 : 2, right - left),
        height: tall,
        rx: thin ? 0 : 2,
        ...label,
      });
      if (piece.kind !== 'call' || left < free || left < 0) continue;
      const number = String(piece.call);
      const start = left + (carry.has(piece.call) ? 8 : 1);
      const end = start + 2 + 6 * number.length;
      if (end > this.width) continue;
      const text = this.get(`${piece.key}:text`, 'text', { class: 'tick-text' });
      assign(text, { x: start, y: y + 9 });
      text.textContent = number;
      free = end;
    }
  }

  /** The meaning of the colours and signs that the timeline contains, always visible. */
  private drawLegend(): void {
    const there = new Set(
      this.picture.lanes.flatMap(({ things }) =>
        things.map(({ piece }) => (piece.type === 'mark' ? piece.kind : piece.look)),
      ),
    );
    const items = this.timeline.legend.filter(({ look }) => there.has(look as never));
    const text = items.map(({ look }) => look).join();
    if (this.legend.dataset.drawn === text) return;
    this.legend.dataset.drawn = text;
    const item = ({ look, label }: (typeof items)[number]) =>
      h('span', {}, h('i', { class: look, 'aria-hidden': 'true' }), label);
    this.legend.replaceChildren(...items.map(item));
  }

  private drawLabels(): void {
    const { lanes } = this.picture;
    const wanted = lanes.map((lane) => {
      const key = `label:${lane.key}`;
      this.used.add(key);
      let label = this.elements.get(key) as HTMLElement | undefined;
      if (!label) {
        label = h('div', { class: 'label' });
        this.elements.set(key, label);
      }
      label.className = `label ${lane.kind} ${lane.look}`;
      label.title = lane.label;
      if (label.textContent !== lane.label) label.textContent = lane.label;
      return label;
    });
    const there = this.labels.children;
    if (there.length !== wanted.length || wanted.some((label, n) => there[n] !== label)) {
      this.labels.replaceChildren(...wanted);
    }
    const { leftOut } = this.timeline;
    this.element.title = leftOut > 0 ? `${leftOut} older tasks are not drawn` : '';
  }

  private get<K extends keyof SVGElementTagNameMap>(
    key: string,
    tag: K,
    attributes: { [name: string]: string | number | undefined },
  ): SVGElementTagNameMap[K] {
    this.used.add(key);
    let element = this.elements.get(key) as SVGElementTagNameMap[K] | undefined;
    if (!element) {
      element = s(tag, { 'data-key': key, ...attributes });
      this.elements.set(key, element);
      // Lines and gaps are drawn behind everything else.
      if (tag === 'line' || attributes.class === 'gap') this.svg.prepend(element);
      else this.svg.append(element);
    }
    return element;
  }

  /** Keeps exactly one element in the tab order: the last one that had the focus. */
  private rove(): void {
    const drawn = this.things().filter(({ key }) => this.elements.has(key));
    const current = drawn.find(({ key }) => key === this.focused)?.key ?? drawn[0]?.key;
    for (const { key } of drawn) {
      const element = this.elements.get(key);
      if (element) assign(element, { tabindex: key === current ? 0 : -1 });
    }
  }

  /** The elements in keyboard order: by lane, and by time within a lane. */
  private things(): Place[] {
    return this.picture.lanes.flatMap(({ things }, lane) =>
      things
        .map(({ piece, from }) => ({ key: piece.key, at: from, lane }))
        .sort((a, b) => a.at - b.at),
    );
  }

  /** Scrolls to an element and gives it the focus. */
  private focusOn(thing: Place | undefined): void {
    if (!thing) return;
    const top = AXIS_HEIGHT + thing.lane * LANE_HEIGHT;
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop + AXIS_HEIGHT) this.scroller.scrollTop = top - AXIS_HEIGHT;
    else if (top + LANE_HEIGHT > scrollTop + clientHeight) {
      this.scroller.scrollTop = top + LANE_HEIGHT - clientHeight;
    }
    this.focused = thing.key;
    this.reveal(thing.at);
    this.draw();
    (this.elements.get(thing.key) as SVGElement | undefined)?.focus();
  }

  private key(event: KeyboardEvent): void {
    const all = this.things();
    const at = all.findIndex(({ key }) => key === this.focused);
    const here = all[at];
    const near = (lane: number) =>
      all
        .filter((one) => one.lane === lane)
        .sort((a, b) => Math.abs(a.at - (here?.at ?? 0)) - Math.abs(b.at - (here?.at ?? 0)))[0];
    const deeds: { [key: string]: (() => void) | undefined } = {
      ArrowRight: () => this.focusOn(all[at + 1]),
      ArrowLeft: () => this.focusOn(all[at - 1]),
      ArrowDown: () => this.focusOn(near((here?.lane ?? -1) + 1)),
      ArrowUp: () => this.focusOn(near((here?.lane ?? 1) - 1)),
      Home: () => this.focusOn(all[0]),
      End: () => this.focusOn(all.at(-1)),
      '+': () => this.zoom(0.5),
      '=': () => this.zoom(0.5),
      '-': () => this.zoom(2),
      '0': () => this.fit(),
      Enter: () => this.open(here && this.elements.get(here.key)),
      ' ': () => this.open(here && this.elements.get(here.key)),
      Escape: () => this.point(undefined),
    };
    const deed = deeds[event.key];
    if (!deed) return;
    deed();
    event.preventDefault();
  }

  private open(target: EventTarget | null | undefined): void {
    const task = target instanceof Element ? target.getAttribute('data-task') : undefined;
    if (task) this.onOpen(task);
  }

  private fit(): void {
    this.window = undefined;
    this.draw();
  }

  private zoom(factor: number, around = 0.5): void {
    const { from, to } = this.range();
    const middle = from + (to - from) * around;
    const shown = Math.max(SMALLEST_SPAN_MS, (to - from) * factor);
    this.window = { from: middle - shown * around, to: middle + shown * (1 - around) };
    this.draw();
  }

  private reveal(at: number): void {
    const { from, to } = this.range();
    const middle = this.picture.fold(at);
    if (middle >= from && middle <= to) return;
    const shown = to - from;
    this.window = { from: middle - shown / 2, to: middle + shown / 2 };
    this.draw();
  }

  private wheel(event: WheelEvent): void {
    const bounds = this.svg.getBoundingClientRect();
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      this.zoom(event.deltaY > 0 ? 1.25 : 0.8, (event.clientX - bounds.left) / bounds.width);
    } else if (event.deltaX !== 0 || event.shiftKey) {
      event.preventDefault();
      this.pan((event.deltaX || event.deltaY) / bounds.width);
    }
  }

  private pan(share: number): void {
    const { from, to } = this.range();
    const by = (to - from) * share;
    this.window = { from: from + by, to: to + by };
    this.draw();
  }

  private drag(event: PointerEvent): void {
    if (event.button !== 0) return;
    let last = event.clientX;
    const width = this.svg.getBoundingClientRect().width;
    const move = (event: PointerEvent) => {
      this.pan((last - event.clientX) / width);
      last = event.clientX;
    };
    const up = () => {
      window.removeEventListener('pointermove', move);
      window.removeEventListener('pointerup', up);
    };
    window.addEventListener('pointermove', move);
    window.addEventListener('pointerup', up);
  }

  private point(target: EventTarget | null | undefined): void {
    const key = target instanceof Element ? target.getAttribute('data-key') : undefined;
    const found = key === undefined || key === null ? undefined : this.find(key);
    if (!found || !(target instanceof Element)) {
      this.hover.hidden = true;
      return;
    }
    const { lane, thing } = found;
    const { piece, from, to } = thing;
    const now = this.now();
    const until =
      to === undefined ? `now, ${elapsed(now - from)}` : to === from ? undefined : time(to);
    const lines = [
      piece.label,
      ...(lane.label === piece.label || lane.kind !== 'task' ? [] : [lane.label]),
      ...piece.says,
      until === undefined ? time(from) : `${time(from)} – ${until}`,
    ];
    this.hover.replaceChildren(...lines.map((line) => h('div', {}, line)));
    this.hover.hidden = false;
    const box = target.getBoundingClientRect();
    const own = this.element.getBoundingClientRect();
    const left = Math.max(own.left, box.left) - own.left;
    const room = own.width - this.hover.offsetWidth - 8;
    const below = box.bottom - own.top + 4;
    const fits = below + this.hover.offsetHeight < own.height;
    this.hover.style.left = `${Math.max(4, Math.min(left, room))}px`;
    this.hover.style.top = `${fits ? below : Math.max(0, box.top - own.top - this.hover.offsetHeight - 4)}px`;
  }

  private find(key: string): { lane: Lane; thing: Thing } | undefined {
    for (const lane of this.picture.lanes) {
      const thing = lane.things.find(({ piece }) => piece.key === key);
      if (thing) return { lane, thing };
    }
    return undefined;
  }
}

/** An element of the timeline that can have the focus. */
interface Place {
  key: string;
  lane: number;
  at: number;
}

/** Top and height of a segment within its lane; simultaneous ones are stacked by row. */
function box(kind: Segment['kind'], row: number): [number, number] {
  switch (kind) {
    case 'turn':
      return [2, LANE_HEIGHT - 4];
    case 'call':
      return [10, 5];
    case 'tool':
      return [16 + 2 * (row % 3), row === 0 ? 4 : 2];
    case 'asks':
      return [4, LANE_HEIGHT - 8];
    case 'line':
      return [LANE_HEIGHT / 2 - 2, 4];
    case 'task':
      return [6, LANE_HEIGHT - 12];
    case 'result':
      return [4 + 4 * (row % 5), 3];
  }
}

function shape(kind: Mark['kind'], x: number, y: number): string {
  switch (kind) {
    case 'enters':
      return `M${x} ${y - 6}L${x + 6} ${y}L${x} ${y + 6}L${x - 6} ${y}Z`;
    case 'compacted':
      return `M${x - 4} ${y - 8}L${x} ${y - 3}L${x + 4} ${y - 8}M${x - 4} ${y + 8}L${x} ${y + 3}L${x + 4} ${y + 8}`;
    case 'resumed':
      return `M${x} ${y - 10}V${y + 10}M${x} ${y - 10}L${x + 6} ${y - 6}L${x} ${y - 2}`;
  }
}

function spoken(lane: Lane, { piece, from, to }: Thing, now: number): string {
  const parts = [piece.label];
  if (lane.kind === 'task' && piece.label !== lane.label) parts.push(lane.label);
  parts.push(...piece.says);
  if (to === undefined && piece.kind !== 'result') {
    // In minutes, because a time in seconds would change while a screen reader reads it.
    const minutes = Math.floor((now - from) / 60_000);
    parts.push(minutes < 1 ? 'not ended' : `for ${minutes} minutes so far`);
  }
  parts.push(time(from));
  return parts.join(', ');
}

function time(at: number): string {
  return new Date(at).toLocaleTimeString(undefined, {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  });
}

/** A time with enough digits that no two axis lines have the same text. */
function clock(at: number, step: number): string {
  const date = new Date(at);
  if (step >= 86_400_000)
    return date.toLocaleDateString(undefined, { month: 'short', day: 'numeric' });
  const digits = ([1, 2, 3] as const).find((digits) => step % 10 ** (3 - digits) === 0);
  return date.toLocaleTimeString(undefined, {
    hour: '2-digit',
    minute: '2-digit',
    ...(step < 60_000 ? { second: '2-digit' } : {}),
    ...(step < 1_000 && digits ? { fractionalSecondDigits: digits } : {}),
  });
}
