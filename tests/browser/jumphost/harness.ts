// What a story needs outside the browser: the built jump host on a data folder of its own, machines with a real shell and
// OpenSSH's client, and a service to share. Everything listens on loopback, at an address of the story's own, and ends with it.

import { type ChildProcess, spawn } from "node:child_process";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";

import { adit, ownAddress, REPOSITORY, run, Running } from "../running.ts";
import { type Answer, ask, open } from "../web.ts";

interface Addresses {
  ssh: string;
  web: string;
}

/** The real binary. */
export class JumpHost {
  private constructor(
    readonly folder: string,
    readonly address: string,
    private readonly server: Running,
    private readonly addresses: Addresses,
  ) {}

  /** `settings` are lines of the configuration file; `logged` is how much is logged. */
  static async start({ settings = "", logged = "info" } = {}): Promise<JumpHost> {
    const folder = await mkdtemp(path.join(tmpdir(), "adit-browser-"));
    const address = ownAddress();
    const config = path.join(folder, "jump.yaml");
    await writeFile(config, `jumphost:\n  forward_address: ${address}\n${settings}`);
    const flags = ["--data", path.join(folder, "data"), "--config", config, "--ssh", `${address}:0`, "--web", `${address}:0`];
    const { server, addresses } = await JumpHost.launch(flags, folder, logged);
    return new JumpHost(folder, address, server, addresses);
  }

  private static async launch(flags: string[], folder: string, logged: string) {
    const env = { ...process.env, ADIT_LOG: logged };
    const server = new Running(spawn(adit(), ["jumphost", ...flags], { env, stdio: ["ignore", "pipe", "pipe"] }));
    const file = path.join(folder, "data", "addresses.json");
    await server.says(/^ +dashboard /m, 15_000);
    const addresses = JSON.parse(await readFile(file, "utf8")) as Addresses;
    return { server, addresses };
  }

  get url(): string {
    return `http://${this.addresses.web}`;
  }

  get sshPort(): number {
    return Number(this.addresses.ssh.split(":").at(-1));
  }

  get data(): string {
    return path.join(this.folder, "data");
  }

  /** The link for the first administrator, which the program printed when it started. */
  get firstAdministratorLink(): string {
    const [, link] = /^ +first admin +(\S+)/m.exec(this.log) ?? [];
    if (link === undefined) throw new Error(`no link was printed: ${this.log}`);
    return link;
  }

  /** What the program has printed and logged so far. */
  get log(): string {
    return this.server.output;
  }

  /** An administrator's command that must succeed; returns what `--json` printed. */
  async admin(...words: string[]): Promise<any> {
    const { stdout } = await run(adit(), ["jumphost", "--data", this.data, ...words, "--json"]);
    return stdout.trim() === "" ? undefined : JSON.parse(stdout);
  }

  /** One request as no browser would send it: every header as given. */
  async ask(method: string, route: string, headers: http.OutgoingHttpHeaders = {}, body?: unknown): Promise<Answer> {
    return ask(this.url, method, route, headers, body);
  }

  /** The answer's head, as soon as it is there; its body is a stream. */
  async open(method: string, route: string, headers: http.OutgoingHttpHeaders = {}, body?: unknown): Promise<http.IncomingMessage> {
    return open(this.url, method, route, headers, body);
  }

  async stop(): Promise<void> {
    await this.server.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A member's machine: a home folder, keys, a shell in which `ssh` is OpenSSH's own client. */
export class Machine {
  private readonly running: Running[] = [];

  private constructor(readonly home: string) {}

  static async make(folder: string, name: string): Promise<Machine> {
    // Somebody may have two machines.
    const home = await mkdtemp(path.join(folder, `home-${name}-`));
    await mkdir(path.join(home, ".ssh"), { mode: 0o700 });
    await mkdir(path.join(home, "bin"));
    // The client looks for its files in the home of the password database, not in $HOME, and asks a person about a new host key.
    const known = path.join(home, ".ssh", "known_hosts");
    const config = `StrictHostKeyChecking accept-new\nUserKnownHostsFile ${known}\n`;
    await writeFile(path.join(home, ".ssh", "config"), config);
    const wrapper = path.join(home, "bin", "ssh");
    await writeFile(wrapper, `#!/bin/sh\nexec /usr/bin/ssh -F "$HOME/.ssh/config" "$@"\n`);
    await chmod(wrapper, 0o755);
    return new Machine(home);
  }

  /** Makes a key pair, by default in the file that the page's commands name, and returns the public line. */
  async makeKey(file = ".ssh/adit_jump"): Promise<string> {
    const key = path.join(this.home, file);
    await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "member@machine", "-f", key]);
    return (await readFile(`${key}.pub`, "utf8")).trim();
  }

  /** Runs one of our scripts with the Python that has `tests/peers/requirements.txt`. */
  python(script: string, ...words: (string | number)[]): Running {
    const python = process.env.ADIT_PYTHON ?? path.join(REPOSITORY, "target/venv/bin/python");
    const file = path.join(import.meta.dirname, script);
    return this.own(spawn(python, [file, ...words.map(String)], { stdio: ["pipe", "pipe", "pipe"] }));
  }

  /** Runs a command line as a person who pastes it into a terminal. */
  shell(command: string): Running {
    const child = spawn("sh", ["-c", `exec ${command}`], {
      cwd: this.home,
      env: { PATH: `${this.home}/bin:${process.env.PATH}`, HOME: this.home },
      stdio: ["pipe", "pipe", "pipe"],
    });
    return this.own(child);
  }

  private own(child: ChildProcess): Running {
    const running = new Running(child);
    this.running.push(running);
    return running;
  }

  async stop(): Promise<void> {
    await Promise.all(this.running.map((running) => running.stop("SIGKILL")));
  }
}

/**
 * What a visitor reads at a forwarded port. Not by `fetch`, which, as browsers do, refuses port 10080 (Fetch §2.9, "bad port"):
 * a command-line visitor has no such list.
 */
export async function visit(host: JumpHost, port: number): Promise<string> {
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    const options = { agent: false, timeout: 5_000 };
    const request = http.get(`http://${host.address}:${port}/`, options, resolve);
    request.on("timeout", () => request.destroy(new Error(`port ${port} was silent for 5 s`)));
    request.on("error", reject);
  });
  let text = "";
  for await (const piece of response) text += piece;
  return text;
}

/** Whether anybody listens there. */
export async function listens(host: JumpHost, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, host.address);
    socket.on("connect", () => (socket.destroy(), resolve(true)));
    socket.on("error", () => resolve(false));
  });
}
