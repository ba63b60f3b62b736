// What a story of the agent needs outside the browser: the built agent on a data folder of its own, Debian's sshd to go through, and
// services to reach. Everything listens on loopback, at ports given by the system, and ends with the story.

import { type ChildProcess, spawn } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir, userInfo } from "node:os";
import path from "node:path";

import { expect } from "@playwright/test";

import { adit, run, Running } from "../running.ts";
import { type Answer, ask } from "../web.ts";

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Whether anybody listens there. */
export async function listens(port: number, host = "127.0.0.1"): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, host);
    socket.on("connect", () => (socket.destroy(), resolve(true)));
    socket.on("error", () => resolve(false));
  });
}

/** What `curl` prints for these words; fails where curl fails. */
export async function curl(...words: string[]): Promise<string> {
  const { stdout } = await run("curl", ["-s", "--noproxy", "", "--max-time", "10", ...words]);
  return stdout;
}

async function makeKey(file: string): Promise<void> {
  await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "story", "-f", file]);
}

/** A stock OpenSSH server that lets in whoever runs the tests, with one key. */
export class Sshd {
  private server: Running | null = null;

  private constructor(
    private readonly folder: string,
    readonly port: number,
  ) {}

  static async start(): Promise<Sshd> {
    const folder = await mkdtemp(path.join(tmpdir(), "adit-sshd-"));
    const sshd = new Sshd(folder, await freePort());
    await makeKey(path.join(folder, "host"));
    await makeKey(sshd.key);
    await copyFile(`${sshd.key}.pub`, path.join(folder, "authorized_keys"));
    const settings = [
      `ListenAddress 127.0.0.1:${sshd.port}`,
      `HostKey ${path.join(folder, "host")}`,
      `AuthorizedKeysFile ${path.join(folder, "authorized_keys")}`,
      "PidFile none",
      "StrictModes no",
      "UsePAM no",
      "PermitRootLogin yes",
      "PasswordAuthentication no",
      "KbdInteractiveAuthentication no",
    ];
    await writeFile(path.join(folder, "sshd_config"), `${settings.join("\n")}\n`);
    // Its privilege separation wants this folder, which Debian makes only at boot.
    await mkdir("/run/sshd", { recursive: true });
    await sshd.startAgain();
    return sshd;
  }

  /** The private key that it lets in. */
  get key(): string {
    return path.join(this.folder, "login");
  }

  /** Its host key's fingerprint, as `ssh-keygen -l` shows it. */
  async fingerprint(): Promise<string> {
    const { stdout } = await run("ssh-keygen", ["-lf", path.join(this.folder, "host.pub")]);
    return stdout.split(" ")[1] ?? "";
  }

  /** Ends it and every session of it, as a power cut would. */
  async kill(): Promise<void> {
    const pid = this.server?.child.pid;
    if (pid === undefined) return;
    // Each session is a process of its own, and outlives the one that listens.
    await run("pkill", ["-KILL", "-P", String(pid)]).catch(() => undefined);
    await this.server?.stop("SIGKILL");
    this.server = null;
  }

  async startAgain(): Promise<void> {
    const child = spawn("/usr/sbin/sshd", ["-D", "-e", "-f", path.join(this.folder, "sshd_config")], { stdio: ["ignore", "pipe", "pipe"] });
    this.server = new Running(child);
    await expect.poll(() => listens(this.port), { message: "sshd answers", timeout: 10_000, intervals: [20] }).toBe(true);
  }

  /** As after a new installation. */
  async changeHostKey(): Promise<void> {
    await this.kill();
    for (const name of ["host", "host.pub"]) await rm(path.join(this.folder, name));
    await makeKey(path.join(this.folder, "host"));
    await this.startAgain();
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** The real agent. */
export class Agent {
  private server: Running | null = null;
  private readonly commands: Running[] = [];

  private constructor(
    readonly folder: string,
    /** Where its page is, also while it does not run. */
    readonly url: string,
  ) {}

  static async start(): Promise<Agent> {
    const folder = await mkdtemp(path.join(tmpdir(), "adit-agent-"));
    await mkdir(path.join(folder, "home", ".ssh"), { recursive: true, mode: 0o700 });
    const agent = new Agent(folder, `http://127.0.0.1:${await freePort()}`);
    await agent.startAgain();
    return agent;
  }

  async startAgain(): Promise<void> {
    const flags = ["agent", "--data", this.data, "--listen", new URL(this.url).host];
    const child = spawn(adit(), flags, { env: this.environment, stdio: ["ignore", "pipe", "pipe"] });
    this.server = new Running(child);
    await this.server.says(/^ +address /m, 15_000);
  }

  private get environment(): NodeJS.ProcessEnv {
    // Nobody's ssh config, keys or keyring but those of the story.
    const { SSH_AUTH_SOCK: _, DBUS_SESSION_BUS_ADDRESS: __, DISPLAY: ___, ...rest } = process.env;
    return { ...rest, HOME: this.home, ADIT_LOG: "info" };
  }

  get data(): string {
    return path.join(this.folder, "data");
  }

  get home(): string {
    return path.join(this.folder, "home");
  }

  get log(): string {
    return this.server?.output ?? "";
  }

  async token(): Promise<string> {
    return (await readFile(path.join(this.data, "token"), "utf8")).trim();
  }

  /** A command as a person types it; returns what it prints. */
  async adit(...words: string[]): Promise<string> {
    const [command = "", ...rest] = words;
    const { stdout } = await run(adit(), [command, "--data", this.data, ...rest], { env: this.environment });
    return stdout;
  }

  /** A command that goes on, such as `adit forward`. */
  start(...words: string[]): Running {
    const [command = "", ...rest] = words;
    return this.own(spawn(adit(), [command, "--data", this.data, ...rest], { env: this.environment, stdio: ["ignore", "pipe", "pipe"] }));
  }

  /** OpenSSH's client, which knows any host. */
  ssh(...words: string[]): Running {
    const known = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"];
    return this.own(spawn("ssh", [...known, ...words], { stdio: ["ignore", "pipe", "pipe"] }));
  }

  private own(child: ChildProcess): Running {
    const running = new Running(child);
    this.commands.push(running);
    return running;
  }

  /** One request with the token, as a program makes it. */
  async ask(method: string, route: string, body?: unknown): Promise<Answer> {
    return ask(this.url, method, route, { authorization: `Bearer ${await this.token()}` }, body);
  }

  /** The same, which must succeed; returns the body. */
  async must(method: string, route: string, body?: unknown): Promise<any> {
    const answer = await this.ask(method, route, body);
    if (answer.status >= 300) throw new Error(`${method} ${route}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  /** A profile that logs in to `sshd`; returns its id. */
  async addProfile(sshd: Sshd, name = "me"): Promise<string> {
    const profile = { name, username: userInfo().username, auth_method: "key", key_path: sshd.key };
    return (await this.must("POST", "/profiles", profile)).id;
  }

  /** A tunnel through `sshd`, with whatever `more` says; returns its id. */
  async addTunnel(sshd: Sshd, profile_id: string, more: Record<string, unknown>): Promise<string> {
    const tunnel = { host: "127.0.0.1", port: sshd.port, profile_id, forward_type: "dynamic", ...more };
    return (await this.must("POST", "/tunnels", tunnel)).id;
  }

  /** The agent takes whatever key a host shows first. */
  async acceptNewHosts(): Promise<void> {
    await this.must("PUT", "/settings", { host_key_policy: "accept-new" });
  }

  async status(id: string): Promise<string> {
    return (await this.must("GET", `/tunnels/${id}`)).status;
  }

  signal(signal: NodeJS.Signals): void {
    this.server?.child.kill(signal);
  }

  async kill(): Promise<void> {
    await this.server?.stop("SIGKILL");
    this.server = null;
  }

  async stop(): Promise<void> {
    // One that a story has frozen would not hear that it is to end.
    this.signal("SIGCONT");
    await Promise.all([this.server, ...this.commands].map((running) => running?.stop()));
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A TCP service that holds each connection, and says how many there are. */
export async function hold(): Promise<{ port: number; held: Set<net.Socket>; stop: () => void }> {
  const held = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    held.add(socket);
    // The end of a connection is found only by reading it.
    socket.resume();
    socket.on("close", () => held.delete(socket));
    socket.on("error", () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stop = () => {
    for (const socket of held) socket.destroy();
    server.close();
  };
  return { port: (server.address() as net.AddressInfo).port, held, stop };
}

