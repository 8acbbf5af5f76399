// Feeds the output of one task to a terminal: first the end of the existing output, then new output.
// Keeps the offset reached, so that nothing is shown twice or out of order. Skips, with a note, what
// would take too long to show. Pure except for the reads of its source.

import type { OutputPush, ReadResult } from '../protocol/generated';
import { bytes } from '../tasks/describe';

export interface FeedSource {
  read(offset: number, limit: number): Promise<ReadResult>;
  subscribe(offset: number): Promise<unknown>;
}

/** Bytes per reply: a megabyte takes a few, and a stop does not wait long between them. */
export const READ_BYTES = 256 * 1024;
/** A gap up to this size is read; a larger one is skipped, as a person could not follow. */
export const FILL_BYTES = 256 * 1024;

export class OutputFeed {
  private offset = 0;
  private work: Promise<void> = Promise.resolve();
  private waiting = 0;
  private lastWasReturn = false;
  private closed = false;
  private started = false;

  constructor(
    private readonly source: FeedSource,
    private readonly write: (text: string) => void,
    private readonly tailBytes: number,
    private readonly onError: (error: Error) => void = () => undefined,
  ) {}

  /** Shows the end of the existing output, then follows it. Called again with a new daemon. */
  open(total: number, live: boolean): Promise<void> {
    return this.enqueue(async () => {
      await this.toEnd(total);
      if (live) {
        await this.source.subscribe(this.offset);
        this.started = true;
      }
    });
  }

  push(push: OutputPush): void {
    // Before the existing output is shown, a push only repeats what will be read.
    if (!this.started && this.waiting === 0) return;
    this.enqueue(() => this.take(push));
  }

  /** Shows the rest of an ended task's output, `total` bytes in all; returns the error if a read failed. */
  async finish(total: number): Promise<Error | undefined> {
    let trouble: Error | undefined;
    await this.enqueue(() =>
      this.toEnd(total).catch((error: Error) => {
        trouble = error;
        throw error;
      }),
    );
    return trouble;
  }

  /** Writes a line of the extension between the task's. */
  note(text: string): void {
    const fresh = this.lastWasNewline ? '' : '\r\n';
    this.emit(`${fresh}\u001b[0m\u001b[2m${text}\u001b[0m\r\n`);
  }

  close(): void {
    this.closed = true;
  }

  private lastWasNewline = true;

  private enqueue(step: () => Promise<void>): Promise<void> {
    this.waiting++;
    this.work = this.work
      .then(() => (this.closed ? undefined : step()))
      .catch((error: Error) => this.onError(error))
      .finally(() => {
        this.waiting--;
      });
    return this.work;
  }

  private async take(push: OutputPush): Promise<void> {
    const data =
      push.encoding === 'base64'
        ? Buffer.from(push.data, 'base64')
        : Buffer.from(push.data, 'utf8');
    const end = push.offset + data.length;
    if (end <= this.offset) return;
    if (push.offset > this.offset) {
      if (push.offset - this.offset <= FILL_BYTES) await this.readTo(push.offset);
      else this.skipTo(push.offset);
    }
    this.show(data.subarray(this.offset - push.offset).toString('utf8'));
    this.offset = end;
  }

  /** Reads to the current end of the output, at most the last `tailBytes`. */
  private async toEnd(total: number): Promise<void> {
    const start = total - this.tailBytes;
    if (start > this.offset) this.skipTo(start);
    for (;;) {
      const before = this.offset;
      const eof = await this.readOnce(READ_BYTES);
      if (this.closed || eof || this.offset === before) return;
    }
  }

  private async readTo(end: number): Promise<void> {
    while (this.offset < end && !this.closed) {
      const before = this.offset;
      await this.readOnce(end - this.offset);
      if (this.offset === before) return;
    }
  }

  private async readOnce(limit: number): Promise<boolean> {
    const reply = await this.source.read(this.offset, limit);
    if (reply.gap) {
      this.note(`… ${bytes(reply.gap.to - reply.gap.from)} were not kept …`);
    }
    this.show(reply.data);
    this.offset = reply.nextOffset;
    return reply.eof;
  }

  private skipTo(offset: number): void {
    const skipped = offset - this.offset;
    this.note(`… ${bytes(skipped)} skipped; “Open Output in Editor” has what was kept …`);
    this.offset = offset;
  }

  private show(text: string): void {
    if (text === '') return;
    // A pipe has no terminal driver that adds the carriage return.
    const first = this.lastWasReturn && text.startsWith('\n') ? '\n' : '';
    const rest = first === '' ? text : text.slice(1);
    this.lastWasReturn = text.endsWith('\r');
    this.emit(first + rest.replace(/\r?\n/g, '\r\n'));
  }

  private emit(text: string): void {
    if (this.closed || text === '') return;
    this.lastWasNewline = text.endsWith('\n');
    this.write(text);
  }
}
