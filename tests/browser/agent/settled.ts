// An agent as somebody has it who uses it: tunnels in every state, a session, a jump, an ssh config.

import { writeFile } from "node:fs/promises";
import path from "node:path";

import { freePort } from "./harness.ts";
import { serve } from "../web.ts";
import type { Story } from "./story.ts";

export async function settle({ agent, sshd, desk }: Pick<Story, "agent" | "sshd" | "desk">) {
  const service = await serve("switch".repeat(1_000));
  await agent.acceptNewHosts();
  await writeFile(path.join(agent.home, ".ssh", "config"), "Host attic\n  HostName attic.example\n  User carol\n  LocalForward 18080 intranet:80\n  ForwardX11 yes\n");
  const me = await agent.addProfile(sshd, "me at work");
  const nobody = await agent.must("POST", "/profiles", { name: "nobody", username: "nobody-here", auth_method: "key", key_path: sshd.key });
  await agent.must("POST", "/profiles", { name: "router", username: "admin", auth_method: "password", password: "kept", legacy_algorithms: true });
  const gate = await agent.must("POST", "/jump-hosts", { name: "gate", host: "127.0.0.1", port: sshd.port, profile_id: me });
  const ports = { web: await freePort(), socks: await freePort(), broken: await freePort(), idle: await freePort(), session: await freePort() };
  const local = { forward_type: "local", remote_host: "127.0.0.1", remote_port: service.port };
  const ids = {
    web: await agent.addTunnel(sshd, me, { name: "Switch UI", local_port: ports.web, ...local, auto_start: true, jump_host_id: gate.id }),
    socks: await agent.addTunnel(sshd, me, { name: "Bastion SOCKS", local_port: ports.socks }),
    broken: await agent.addTunnel(sshd, nobody.id, { name: "Broken", local_port: ports.broken, auto_reconnect: false }),
    idle: await agent.addTunnel(sshd, me, { name: "A name that is long enough to need more room than a narrow window has", local_port: ports.idle, bind_address: "::1" }),
  };
  const session = await agent.must("POST", "/sessions", {
    name: "lab router", host: "127.0.0.1", port: sshd.port, profile_id: me,
    forwards: [
      { forward_type: "dynamic", local_port: ports.session },
      { forward_type: "remote", local_port: 3000, remote_port: 9000, enabled: false },
    ],
  });
  for (const id of [ids.web, ids.socks, ids.broken]) await agent.must("POST", `/tunnels/${id}/start`);
  await agent.must("POST", `/sessions/${session.id}/connect`);
  await desk.goToTunnels();
  await desk.stands("Switch UI", "connected");
  await desk.stands("Bastion SOCKS", "connected");
  await desk.stands("Broken", "failed");
  return { ids, ports, gate, session, service };
}
