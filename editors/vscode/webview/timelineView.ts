// Draws a timeline: lanes of bars and marks over one axis of time. Owns zoom, pan, hover and the
// keyboard. Elements are kept from one drawing to the next, so that focus and a screen reader's
// place stay where they are while the picture moves.

import { axis, type Lane, type Mark, type Span, type Timeline } from '../src/panel/timeline';
import { elapsed } from '../src/tasks/describe';
import { assign, h, iconButton, s } from './dom';

const LANE_HEIGHT = 24;
const AXIS_HEIGHT = 20;
/** Between the last moment and the right edge. */
const MARGIN = 0.03;
const TICK_MS = 500;
/** Pixels of a time on the axis. */
const CLOCK_WIDTH = 80;
/** Lanes drawn above and below those in sight, so that a little scrolling finds them there. */
const SPARE_LANES = 6;
const SMALLEST_SPAN_MS = 50;
/** What is seen first of a long story: its end. */
const FIRST_VIEW_MS = 15 * 60_000;

/** What the colours and signs mean, always in sight. */
function legend(): HTMLElement {
  const items = {
    call: 'model call',
    tool: 'its tools',
    'task succeeded': 'task',
    queue: 'result waits',
    drain: 'result enters',
  };
  const item = ([look, name]: [string, string]) =>
    h('span', {}, h('i', { class: look, 'aria-hidden': 'true' }), name);
  return h('div', { class: 'legend' }, ...Object.entries(items).map(item));
}

export class TimelineView {
  readonly element: HTMLElement;
  private readonly labels: HTMLElement;
  private readonly scroller: HTMLElement;
  private readonly svg: SVGSVGElement;
  private readonly hover: HTMLElement;
  private readonly empty: HTMLElement;
  private readonly elements = new Map<string, SVGElement | HTMLElement>();
  private used = new Set<string>();
  private timeline: Timeline = { lanes: [], links: [], start: 0, end: 0, omitted: 0 };
  /** What is shown; undefined: everything, following the present. */
  private window: { from: number; to: number } | undefined;
  private frame: number | undefined;
  private focused: string | undefined;
  private story: string | undefined;

  constructor(private readonly onOpen: (taskId: string) => void) {
    this.svg = s('svg', { class: 'lanes', role: 'group', 'aria-label': 'Timeline' });
    this.labels = h('div', { class: 'labels', 'aria-hidden': 'true' });
    this.hover = h('div', { class: 'hover', role: 'tooltip', hidden: true });
    this.empty = h('p', { class: 'empty' }, 'Nothing has run yet.');
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
      legend(),
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
      if (this.timeline.end === undefined && !document.hidden) this.draw();
    }, TICK_MS);
  }

  /** `story` names what is told: another one begins with everything in view. */
  show(timeline: Timeline, story: string): void {
    if (story !== this.story) {
      this.story = story;
      this.window = undefined;
      const end = timeline.end ?? Date.now();
      if (end - timeline.start > 4 * FIRST_VIEW_MS && timeline.end !== undefined) {
        this.window = { from: end - FIRST_VIEW_MS, to: end + FIRST_VIEW_MS * MARGIN };
      }
    }
    this.timeline = timeline;
    this.drawSoon();
  }

  private drawSoon(): void {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.draw();
    });
  }

  /** The first and the last lane that are drawn: what is out of sight costs nothing. */
  private inSight(): [number, number] {
    const { scrollTop, clientHeight } = this.scroller;
    return [
      Math.floor((scrollTop - AXIS_HEIGHT) / LANE_HEIGHT) - SPARE_LANES,
      Math.ceil((scrollTop + clientHeight) / LANE_HEIGHT) + SPARE_LANES,
    ];
  }

  private range(): { from: number; to: number } {
    if (this.window) return this.window;
    const { start } = this.timeline;
    const end = this.timeline.end ?? Date.now();
    const whole = Math.max(end - start, 1_000);
    // The present alone moves a minute's view; of hours the last quarter is enough.
    const from =
      this.timeline.end === undefined && whole > 4 * FIRST_VIEW_MS ? end - FIRST_VIEW_MS : start;
    const shown = Math.max(end - from, 1_000);
    return { from: from - shown * 0.01, to: end + shown * MARGIN };
  }

  private get width(): number {
    return Math.max(50, this.svg.clientWidth);
  }

  private draw(): void {
    const { lanes, links } = this.timeline;
    const { from, to } = this.range();
    this.empty.hidden = lanes.length > 0;
    this.scroller.hidden = lanes.length === 0;
    // Only what is shown has a width.
    const { width } = this;
    const now = Date.now();
    const x = (at: number) => Math.round(((at - from) / (to - from)) * width * 100) / 100;
    const clip = (value: number) => Math.min(width + 4, Math.max(-4, value));
    const height = AXIS_HEIGHT + lanes.length * LANE_HEIGHT + 4;
    this.used = new Set();
    assign(this.svg, { height, viewBox: `0 0 ${width} ${height}`, width: '100%' });

    for (const at of axis(from, to, width)) {
      const key = `axis:${at}`;
      const line = this.get(key, 'line', { class: 'grid' });
      assign(line, { x1: x(at), x2: x(at), y1: AXIS_HEIGHT - 4, y2: height });
      // One that the edge would cut is read wrong.
      if (x(at) + CLOCK_WIDTH > width) continue;
      const text = this.get(`${key}:text`, 'text', { class: 'axis' });
      assign(text, { x: x(at) + 3, y: 13 });
      text.textContent = clock(at, to - from);
    }
    const rows = new Map(lanes.map((lane, index) => [lane.key, AXIS_HEIGHT + index * LANE_HEIGHT]));
    for (const link of links) {
      const [a, b] = [rows.get(link.fromLane), rows.get(link.toLane)];
      if (a === undefined || b === undefined || x(link.at) < 0 || x(link.at) > width) continue;
      const line = this.get(`link:${link.key}`, 'line', { class: `link ${link.kind}` });
      const middle = LANE_HEIGHT / 2;
      assign(line, { x1: x(link.at), x2: x(link.at), y1: a + middle, y2: b + middle });
    }
    const [first, last] = this.inSight();
    for (const [index, lane] of lanes.entries()) {
      // Whatever has the focus stays: with its element the keyboard's place would be gone.
      const held = this.focused?.startsWith(`${lane.key}|`);
      if ((index < first || index > last) && !held) continue;
      const y = rows.get(lane.key) ?? 0;
      const rule = this.get(`rule:${lane.key}`, 'line', { class: 'rule' });
      assign(rule, { x1: 0, x2: width, y1: y + LANE_HEIGHT, y2: y + LANE_HEIGHT });
      this.drawLane(lane, y, x, clip, now);
    }
    this.drawLabels();
    for (const [key, element] of this.elements) {
      if (!this.used.has(key)) {
        element.remove();
        this.elements.delete(key);
      }
    }
    this.rove();
  }

  private drawLane(
    lane: Lane,
    y: number,
    x: (at: number) => number,
    clip: (value: number) => number,
    now: number,
  ): void {
    for (const span of lane.spans) {
      const left = clip(x(span.from));
      const right = clip(x(span.to ?? Math.max(now, span.from)));
      const [top, tall] = box(span);
      const rect = this.get(`${lane.key}|${span.key}`, 'rect', {
        'data-task': lane.taskId,
        tabindex: -1,
        role: lane.taskId === undefined ? 'img' : 'button',
      });
      assign(rect, {
        class: `span ${span.kind} ${span.look}${span.to === undefined ? ' open' : ''}`,
        x: left,
        y: y + top,
        width: Math.max(span.kind === 'queue' ? 0 : 2, right - left),
        height: tall,
        rx: span.kind === 'queue' ? 0 : 2,
        'aria-label': spoken(lane, span, now),
      });
    }
    let free = Number.NEGATIVE_INFINITY;
    for (const mark of lane.marks) {
      const at = x(mark.at);
      const key = `${lane.key}|${mark.key}`;
      if ((at < -10 || at > this.width + 10) && key !== this.focused) continue;
      const middle = y + LANE_HEIGHT / 2;
      const path = this.get(key, 'path', {
        'data-task': lane.taskId,
        tabindex: -1,
        role: 'img',
      });
      assign(path, {
        class: `mark ${mark.kind}`,
        d: shape(mark, at, middle),
        'aria-label': spoken(lane, mark, now),
      });
      if (mark.text !== '' && at - free > 16) {
        const text = this.get(`${key}|text`, 'text', { class: 'tick-text' });
        assign(text, { x: at + 2, y: y + 8 });
        text.textContent = mark.text;
        free = at;
      }
    }
  }

  private drawLabels(): void {
    const { lanes, omitted } = this.timeline;
    const wanted = lanes.map((lane) => {
      const key = `label:${lane.key}`;
      this.used.add(key);
      let label = this.elements.get(key) as HTMLElement | undefined;
      if (!label) {
        label = h('div', { class: 'label' });
        this.elements.set(key, label);
      }
      label.className = `label ${lane.kind} ${lane.look}`;
      label.title = lane.name;
      if (label.textContent !== lane.name) label.textContent = lane.name;
      return label;
    });
    const there = this.labels.children;
    if (there.length !== wanted.length || wanted.some((label, n) => there[n] !== label)) {
      this.labels.replaceChildren(...wanted);
    }
    this.element.title = omitted > 0 ? `${omitted} older tasks are not drawn` : '';
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
      this.svg.append(element);
    }
    return element;
  }

  /** Exactly one thing of the picture is in the tab order: the last one that had the focus. */
  private rove(): void {
    const drawn = this.things().filter(({ key }) => this.elements.has(key));
    const current = drawn.find(({ key }) => key === this.focused)?.key ?? drawn[0]?.key;
    for (const { key } of drawn) {
      const element = this.elements.get(key);
      if (element) assign(element, { tabindex: key === current ? 0 : -1 });
    }
  }

  /** What the keyboard goes through: in the order of lanes, and of time within a lane. */
  private things(): Thing[] {
    return this.timeline.lanes.flatMap((lane, index) =>
      [
        ...lane.spans.map((span) => ({ key: `${lane.key}|${span.key}`, at: span.from })),
        ...lane.marks.map((mark) => ({ key: `${lane.key}|${mark.key}`, at: mark.at })),
      ]
        .sort((a, b) => a.at - b.at)
        .map(({ key, at }) => ({ key, at, lane: index })),
    );
  }

  /** Brings a thing into sight and gives it the focus. */
  private focusOn(thing: Thing | undefined): void {
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
    const move = (to: Thing | undefined) => this.focusOn(to);
    switch (event.key) {
      case 'ArrowRight':
        move(all[at + 1]);
        break;
      case 'ArrowLeft':
        move(all[at - 1]);
        break;
      case 'ArrowDown':
        move(near((here?.lane ?? -1) + 1));
        break;
      case 'ArrowUp':
        move(near((here?.lane ?? 1) - 1));
        break;
      case 'Home':
        move(all[0]);
        break;
      case 'End':
        move(all.at(-1));
        break;
      case '+':
      case '=':
        this.zoom(0.5);
        break;
      case '-':
        this.zoom(2);
        break;
      case '0':
        this.fit();
        break;
      case 'Enter':
      case ' ':
        this.open(here && this.elements.get(here.key));
        break;
      case 'Escape':
        this.point(undefined);
        break;
      default:
        return;
    }
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
    if (at >= from && at <= to) return;
    const shown = to - from;
    this.window = { from: at - shown / 2, to: at + shown / 2 };
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
    const { lane, item } = found;
    const at = 'from' in item ? item.from : item.at;
    const until = 'from' in item ? (item.to ?? Date.now()) : at;
    const lines = [
      item.name,
      ...(lane.kind === 'task' && item.name !== lane.name ? [lane.name] : []),
      ...item.details,
      'from' in item
        ? `${time(at)} – ${item.to === undefined ? 'now' : time(until)}${item.to === undefined ? `, ${elapsed(until - at)}` : ''}`
        : time(at),
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

  private find(key: string): { lane: Lane; item: Span | Mark } | undefined {
    for (const lane of this.timeline.lanes) {
      for (const item of [...lane.spans, ...lane.marks]) {
        if (`${lane.key}|${item.key}` === key) return { lane, item };
      }
    }
    return undefined;
  }
}

/** Something of the picture that can have the focus. */
interface Thing {
  key: string;
  lane: number;
  at: number;
}

/** Top and height of a span within its lane. */
function box(span: Span): [number, number] {
  switch (span.kind) {
    case 'turn':
      return [2, LANE_HEIGHT - 4];
    case 'call':
      return [10, 5];
    case 'tool':
      return [16, 4];
    case 'task':
      return [6, LANE_HEIGHT - 12];
    case 'queue':
      return [LANE_HEIGHT / 2 - 1.5, 3];
  }
}

function shape(mark: Mark, x: number, y: number): string {
  switch (mark.kind) {
    case 'call':
      return `M${x} ${y - 10}V${y + 10}`;
    case 'drain':
      return `M${x} ${y - 6}L${x + 6} ${y}L${x} ${y + 6}L${x - 6} ${y}Z`;
    case 'compacted':
      return `M${x - 4} ${y - 8}L${x} ${y - 3}L${x + 4} ${y - 8}M${x - 4} ${y + 8}L${x} ${y + 3}L${x + 4} ${y + 8}`;
    case 'resumed':
      return `M${x} ${y - 10}V${y + 10}M${x} ${y - 10}L${x + 6} ${y - 6}L${x} ${y - 2}`;
  }
}

function spoken(lane: Lane, item: Span | Mark, now: number): string {
  const parts = [item.name];
  if (lane.kind === 'task' && item.name !== lane.name) parts.push(lane.name);
  parts.push(...item.details);
  if ('from' in item && item.to === undefined && item.kind !== 'queue') {
    // Spoken when it gets the focus; to the second it would change under the reader.
    parts.push(
      now - item.from < 60_000
        ? 'goes on'
        : `goes on for ${Math.floor((now - item.from) / 60_000)} minutes`,
    );
  }
  parts.push(time('from' in item ? item.from : item.at));
  return parts.join(', ');
}

function time(at: number): string {
  return new Date(at).toLocaleTimeString(undefined, {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  });
}

/** As fine as the lines are apart. */
function clock(at: number, shown: number): string {
  const date = new Date(at);
  if (shown > 2 * 86_400_000)
    return date.toLocaleDateString(undefined, { month: 'short', day: 'numeric' });
  const text = date.toLocaleTimeString(undefined, {
    hour: '2-digit',
    minute: '2-digit',
    ...(shown < 20 * 60_000 ? { second: '2-digit' } : {}),
    ...(shown < 2_000 ? { fractionalSecondDigits: 1 as const } : {}),
  });
  return text;
}
