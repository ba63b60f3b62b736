// Programs that a story starts, and where it finds them.

import { type ChildProcess, execFile } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";

import { expect } from "@playwright/test";

export const run = promisify(execFile);
export const REPOSITORY = path.resolve(import.meta.dirname, "../..");

/** The built binary. */
export function adit(): string {
  const file = process.env.ADIT_BIN ?? path.join(REPOSITORY, "target/debug/adit");
  if (!existsSync(file)) throw new Error(`there is no ${file}: run \`cargo build\` first, or name one in ADIT_BIN`);
  return file;
}

/** A program that was started, with what it said. */
export class Running {
  output = "";
  readonly ended: Promise<number | null>;
  /** When it ended, by the machine's clock; a browser on the same machine reads the same one. */
  endedAt: number | null = null;

  constructor(readonly child: ChildProcess) {
    child.stdout?.on("data", (text) => (this.output += text));
    child.stderr?.on("data", (text) => (this.output += text));
    child.on("exit", () => (this.endedAt = Date.now()));
    this.ended = new Promise((resolve) => child.on("close", (code) => resolve(code)));
  }

  /** Waits until it has said `text`; fails when it ends before, or is silent for too long. */
  async says(text: string | RegExp, milliseconds = 10_000): Promise<void> {
    const said = () => (typeof text === "string" ? this.output.includes(text) : text.test(this.output));
    await expect
      .poll(() => said() || this.endedAt !== null, { timeout: milliseconds, intervals: [20] })
      .toBe(true)
      .catch(() => undefined);
    if (!said()) throw new Error(`it did not say ${text}, but: ${this.output}`);
  }

  /** Its exit code; fails when it does not end in `milliseconds`. */
  async exitCode(milliseconds: number): Promise<number | null> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`it did not end within ${milliseconds} ms: ${this.output}`)), milliseconds);
    });
    return Promise.race([this.ended, late]).finally(() => clearTimeout(timer));
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    await this.ended;
  }
}

/** Each story has a loopback address of its own, so that all of them may use the ports of the documents. */
export function ownAddress(): string {
  const number = process.pid % 60_000;
  own += 1;
  return `127.${100 + (own % 100)}.${number >> 8}.${(number & 255) || 1}`;
}
let own = 0;
