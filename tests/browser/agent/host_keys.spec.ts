// Host keys: who is asked, what is shown beside it, and that Enter rejects.

import { copyFile } from "node:fs/promises";
import path from "node:path";

import { freePort, Sshd } from "./harness.ts";
import { expect, test } from "./story.ts";

test("a host that nobody knows is asked about, and Enter rejects it", async ({ agent, sshd, desk }) => {
  const { page } = desk;
  const id = await agent.addTunnel(sshd, await agent.addProfile(sshd), { name: "proxy", local_port: await freePort() });
  await desk.card("proxy").getByRole("button", { name: "Start" }).click();
  const dialog = desk.dialog(`Is this [127.0.0.1]:${sshd.port}?`);
  await expect(dialog.getByTestId("shown-fingerprint")).toHaveText(await sshd.fingerprint());
  await expect(dialog.getByRole("button", { name: "Reject" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(dialog).toBeHidden();
  await desk.stands("proxy", "failed");
  expect(await agent.must("GET", "/hosts/unknown")).toEqual([]);

  // What comes while nobody waits for it is a banner.
  const stranger = page.getByTestId("host-keys-wait");
  await expect(stranger).toBeHidden();
  await page.reload();
  await desk.stands("proxy", "failed");
  await agent.must("POST", `/tunnels/${id}/start`);
  await expect(stranger).toBeVisible();
  await expect(dialog).toBeHidden();
  await stranger.getByRole("button", { name: "Look" }).click();
  await dialog.getByRole("button", { name: "Accept" }).click();
  await desk.stands("proxy", "connected");
  await expect(stranger).toBeHidden();
});

test("a changed key shows both fingerprints, and is replaced only by who compared them", async ({ agent, sshd, desk }) => {
  const { page } = desk;
  await agent.acceptNewHosts();
  const id = await agent.addTunnel(sshd, await agent.addProfile(sshd), { name: "proxy", local_port: await freePort(), auto_reconnect: false });
  await agent.must("POST", `/tunnels/${id}/start`);
  await desk.stands("proxy", "connected");
  const before = await sshd.fingerprint();
  await sshd.changeHostKey();
  const after = await sshd.fingerprint();
  await desk.stands("proxy", "failed", 20_000);

  await desk.card("proxy").getByRole("button", { name: "Start" }).click();
  const dialog = desk.dialog(`The key of [127.0.0.1]:${sshd.port} has changed`);
  await expect(dialog.getByTestId("known-fingerprint")).toHaveText(before);
  await expect(dialog.getByTestId("shown-fingerprint")).toHaveText(after);
  await expect(dialog.getByRole("button", { name: "Reject" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(dialog).toBeHidden();
  await desk.stands("proxy", "failed");

  await desk.card("proxy").getByRole("button", { name: "Start" }).click();
  const replace = dialog.getByRole("button", { name: "Replace the known key" });
  await expect(replace).toBeDisabled();
  await dialog.getByRole("checkbox", { name: /^I have compared/ }).check();
  await replace.click();
  await expect(dialog).toBeHidden();
  await desk.stands("proxy", "connected");
});

test("a key that is known twice, in a file of somebody else too, is shown twice", async ({ agent, sshd, desk }) => {
  const { page } = desk;
  await agent.acceptNewHosts();
  const id = await agent.addTunnel(sshd, await agent.addProfile(sshd), { name: "proxy", local_port: await freePort(), auto_reconnect: false });
  await agent.must("POST", `/tunnels/${id}/start`);
  await desk.stands("proxy", "connected");
  await copyFile(path.join(agent.data, "known_hosts"), path.join(agent.home, ".ssh", "known_hosts"));
  await sshd.changeHostKey();
  await desk.stands("proxy", "failed", 20_000);
  await desk.card("proxy").getByRole("button", { name: "Start" }).click();
  const dialog = desk.dialog(/has changed$/);
  await expect(dialog.getByTestId("known-fingerprint")).toHaveCount(2);
  await expect(dialog.getByTestId("kept-elsewhere")).toBeVisible();
  await expect(dialog.getByRole("button", { name: "Replace the known key" })).toHaveCount(0);
  await page.keyboard.press("Enter");
  await expect(dialog).toBeHidden();
});

test("a question stays the one that was read, and one click answers one", async ({ agent, sshd, desk }) => {
  const { page } = desk;
  const profile = await agent.addProfile(sshd);
  const other = await Sshd.start();
  const [one, two] = [
    await agent.addTunnel(sshd, profile, { name: "one", local_port: await freePort() }),
    await agent.addTunnel(other, profile, { name: "two", local_port: await freePort() }),
  ];
  for (const id of [one, two]) await agent.must("POST", `/tunnels/${id}/start`);
  await expect.poll(async () => (await agent.must("GET", "/hosts/unknown")).length).toBe(2);
  await page.getByRole("button", { name: "Look" }).click();
  const question = page.getByRole("dialog");
  const accept = question.getByRole("button", { name: "Accept" });
  const asked = (await question.getByRole("heading").textContent()) ?? "";
  // What was meant for something that lay here before comes too soon.
  await expect(accept).toBeDisabled();
  await expect(accept).toBeEnabled();
  await accept.dblclick();
  await expect(question).toBeHidden();
  const [left, ...more] = await agent.must("GET", "/hosts/unknown");
  expect(more).toEqual([]);
  expect(asked).not.toContain(left.host);

  // The host shows another key while somebody still compares: that question is gone, and nothing was accepted.
  await page.getByRole("button", { name: "Look" }).click();
  await expect(question.getByTestId("shown-fingerprint")).toHaveText(left.fingerprint);
  const [changing, id] = left.host === `[127.0.0.1]:${sshd.port}` ? [sshd, one] : [other, two];
  await changing.changeHostKey();
  await agent.must("POST", `/tunnels/${id}/reconnect`);
  await expect(question).toBeHidden();
  expect((await agent.must("GET", "/hosts/unknown"))[0].fingerprint).toBe(await changing.fingerprint());
  await other.stop();
});

test("a test on the tunnel's own page goes on while bytes move", async ({ agent, sshd, desk }) => {
  const { page } = desk;
  await agent.acceptNewHosts();
  const id = await agent.addTunnel(sshd, await agent.addProfile(sshd), { name: "proxy", local_port: await freePort() });
  await agent.must("POST", `/tunnels/${id}/start`);
  await desk.stands("proxy", "connected");
  let tests = 0;
  page.on("request", (request) => (tests += request.url().endsWith("/test") ? 1 : 0));
  await desk.go(`/settings/ssh-tunnels/${id}`);
  await page.getByRole("button", { name: "Test", exact: true }).click();
  await expect(page.getByTestId("through")).toBeVisible();
  // Each is another row for the page.
  for (const retries of [1, 2, 3]) await agent.must("PUT", `/tunnels/${id}`, { max_retries: retries });
  await agent.must("POST", `/tunnels/${id}/reconnect`);
  await expect(page.getByTestId("stretch")).not.toHaveCount(0);
  await expect.poll(async () => (await agent.must("GET", "/tunnels/log")).length).toBeGreaterThan(3);
  await expect(page.getByTestId("through")).toBeVisible();
  expect(tests).toBe(1);
});

test("a test ticks each stage, and stops where the way ends", async ({ agent, sshd, desk }) => {
  const profile = await agent.addProfile(sshd);
  const nobody = await agent.must("POST", "/profiles", { name: "nobody", username: "nobody-here", auth_method: "key", key_path: sshd.key });
  const local = { forward_type: "local", remote_host: "127.0.0.1" };
  await agent.addTunnel(sshd, profile, { name: "good", local_port: await freePort(), ...local, remote_port: sshd.port });
  await agent.addTunnel(sshd, profile, { name: "no target", local_port: await freePort(), ...local, remote_port: await freePort() });
  await agent.addTunnel(sshd, nobody.id, { name: "no login", local_port: await freePort() });

  const stages = desk.page.getByTestId("stage");
  await desk.card("good").getByRole("button", { name: "Test" }).click();
  const dialog = desk.dialog("Test of good");
  await expect(stages.locator(".stage")).toHaveText(["Credentials: through", "DNS: through", "TCP: through", "Host key: failed"]);
  await dialog.getByRole("button", { name: "Look at the key" }).click();
  await desk.dialog(/^Is this/).getByRole("button", { name: "Accept" }).click();

  await desk.card("good").getByRole("button", { name: "Test" }).click();
  await expect(dialog.getByTestId("through")).toBeVisible();
  const through = ["Credentials", "DNS", "TCP", "Host key", "Login"].map((stage) => `${stage}: through`);
  await expect(stages.locator(".stage")).toHaveText([...through, "Target: through"]);
  await dialog.getByRole("button", { name: "Close" }).last().click();

  await desk.card("no target").getByRole("button", { name: "Test" }).click();
  await expect(stages.locator(".stage")).toHaveText([...through, "Target: failed"]);
  await expect(desk.dialog("Test of no target").getByRole("alert")).toContainText(/refused/i);
  await desk.page.keyboard.press("Escape");

  await desk.card("no login").getByRole("button", { name: "Test" }).click();
  await expect(stages.locator(".stage").last()).toHaveText("Login: failed");
  await desk.page.keyboard.press("Escape");
  // Nothing of it stays.
  for (const tunnel of await agent.must("GET", "/tunnels")) expect(tunnel.status).toBe("disconnected");
});
