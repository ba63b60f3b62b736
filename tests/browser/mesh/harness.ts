// What a story of the mesh needs outside the browser: a root, and the built agents that joined with its tokens, each on a data folder of
// its own. All of a mesh listen at one loopback address of the story's own, and end with it.

import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { expect } from "@playwright/test";

import { adit, ownAddress, run, Running } from "../running.ts";
import { ask } from "../web.ts";

/** The parts of `GET /api/dashboard` that stories look at. */
export interface Board {
  agent: { id: string; name: string };
  routes: { agent_id: string; agent: string; path_display: string[] }[];
  forward_routes: ForwardRoute[];
  links: { a: string; b: string }[];
}

export interface ForwardRoute {
  key: string;
  ingress_agent: string | null;
  listener_address: string | null;
  exit_agent: string | null;
  target: string | null;
  hop_count: number | null;
  path_display: string[];
  state: string;
}

/** What one agent has to do with the mesh. */
export interface Plan {
  /** Agents that it connects to. */
  peers?: string[];
  endpoints?: { key: string; target: string }[];
  listeners?: { key: string; port: number }[];
}

const FIRST_LINK_PORT = 4433;
const FIRST_PAGE_PORT = 8080;

/** One real agent. */
export class MeshAgent {
  private server: Running | null = null;

  constructor(
    readonly name: string,
    /** Where its page is, also while it does not run. */
    readonly url: string,
    private readonly data: string,
    private readonly config: string,
  ) {}

  async start(): Promise<void> {
    const flags = ["mesh", "run", "--data", this.data, "--config", this.config];
    const env = { ...process.env, ADIT_LOG: "info" };
    this.server = new Running(spawn(adit(), flags, { env, stdio: ["ignore", "pipe", "pipe"] }));
    await this.server.says(/^ +dashboard /m, 15_000);
  }

  get log(): string {
    return this.server?.output ?? "";
  }

  async dashboard(): Promise<Board> {
    return (await ask(this.url, "GET", "/api/dashboard")).body;
  }

  signal(signal: NodeJS.Signals): void {
    this.server?.child.kill(signal);
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    // One that a story has frozen would not hear that it is to end.
    this.signal("SIGCONT");
    await this.server?.stop(signal);
  }
}

export class Mesh {
  private constructor(
    private readonly folder: string,
    private readonly agents: ReadonlyMap<string, MeshAgent>,
  ) {}

  /** Starts agents by their names, and waits until each reaches all others. */
  static async start(plans: Record<string, Plan>): Promise<Mesh> {
    const folder = await mkdtemp(path.join(tmpdir(), "adit-mesh-"));
    const [address, root, names] = [ownAddress(), path.join(folder, "root"), Object.keys(plans)];
    const linkAddress = (name: string) => `${address}:${FIRST_LINK_PORT + names.indexOf(name)}`;
    await run(adit(), ["mesh", "init", "--root", root]);
    const agents = new Map<string, MeshAgent>();
    for (const [name, { peers = [], endpoints = [], listeners = [] }] of Object.entries(plans)) {
      const [data, config] = [path.join(folder, name), path.join(folder, `${name}.yaml`)];
      const page = `${address}:${FIRST_PAGE_PORT + names.indexOf(name)}`;
      const rights = ["--publish", "*", "--listen", "*", "--transit"];
      const token = await run(adit(), ["mesh", "invite", name, "--root", root, ...rights]);
      await run(adit(), ["mesh", "join", token.stdout.trim(), "--data", data]);
      // YAML reads JSON.
      const settings = {
        mesh: { listen: linkAddress(name), peers: peers.map(linkAddress), http: page },
        forward: { endpoints, listeners: listeners.map(({ key, port }) => ({ key, address: `${address}:${port}` })) },
      };
      await writeFile(config, JSON.stringify(settings));
      agents.set(name, new MeshAgent(name, `http://${page}`, data, config));
    }
    await Promise.all([...agents.values()].map((agent) => agent.start()));
    for (const agent of agents.values()) {
      const reached = async () => (await agent.dashboard()).routes.length;
      await expect.poll(reached, { message: `${agent.name} reaches all`, timeout: 20_000, intervals: [50] }).toBe(names.length);
    }
    return new Mesh(folder, agents);
  }

  agent(name: string): MeshAgent {
    const agent = this.agents.get(name);
    if (agent === undefined) throw new Error(`there is no agent ${name}`);
    return agent;
  }

  get log(): string {
    return [...this.agents.values()].map(({ name, log }) => `--- ${name}\n${log}`).join("\n");
  }

  async stop(): Promise<void> {
    await Promise.all([...this.agents.values()].map((agent) => agent.stop()));
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Four agents in a row, two keys: one with an endpoint at the end, the other with two listeners. */
export const LINE: Record<string, Plan> = {
  hq: { listeners: [{ key: "my-files", port: 9001 }, { key: "my-shell", port: 9002 }] },
  relay: { peers: ["hq"], listeners: [{ key: "my-shell", port: 9003 }] },
  branch: { peers: ["relay"], endpoints: [{ key: "my-shell", target: "127.0.0.1:22" }] },
  attic: { peers: ["branch"], endpoints: [{ key: "my-files", target: "127.0.0.1:80" }] },
};
