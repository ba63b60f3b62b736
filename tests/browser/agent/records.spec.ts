// Profiles, jump hosts and sessions: who needs them, what deleting says, what an import brings; settings and secrets.

import { writeFile } from "node:fs/promises";
import path from "node:path";

import { curl, freePort } from "./harness.ts";
import { serve } from "../web.ts";
import { expect, test } from "./story.ts";

test("a jump with a login of its own, made in the page, carries a session", async ({ agent, sshd, desk }) => {
  await agent.acceptNewHosts();
  const { page } = desk;
  const service = await serve("behind the gate");
  const port = await freePort();
  await agent.addProfile(sshd, "me");
  await agent.addProfile(sshd, "gatekeeper");

  await desk.go("/settings/jump-hosts");
  await page.getByRole("button", { name: "New jump host" }).click();
  const form = page.getByRole("dialog");
  await form.getByLabel("Name", { exact: true }).fill("gate");
  await form.getByLabel("Host", { exact: true }).fill("127.0.0.1");
  await form.getByLabel("Port", { exact: true }).fill(String(sshd.port));
  await form.getByLabel("Credential Profile").selectOption({ index: 1 });
  await form.getByRole("button", { name: "Create", exact: true }).click();
  const gate = page.getByTestId("jump-host-gate");
  await expect(gate).toContainText(`127.0.0.1:${sshd.port}`);
  await expect(gate).toContainText("nobody");

  await desk.go("/settings/sessions");
  await page.getByRole("button", { name: "New session" }).click();
  await form.getByLabel("Name", { exact: true }).fill("lab");
  await form.getByLabel("SSH Host").fill("127.0.0.1");
  await form.getByLabel("Port", { exact: true }).fill(String(sshd.port));
  await form.getByLabel("Credential Profile").selectOption({ label: (await form.getByLabel("Credential Profile").locator("option", { hasText: "me (" }).textContent()) ?? "" });
  await form.getByLabel("Jump", { exact: true }).selectOption({ label: "gate" });
  await form.getByRole("button", { name: "Add forward" }).click();
  await form.getByLabel("Local Port").fill(String(port));
  await form.getByLabel("Bind Address").fill("0.0.0.0");
  await expect(form.getByText(/must be a loopback address/)).toBeVisible();
  await form.getByLabel("Bind Address").fill("127.0.0.1");
  await form.getByLabel("Remote Host").fill("127.0.0.1");
  await form.getByLabel("Remote Port").fill(String(service.port));
  await form.getByRole("button", { name: "Create", exact: true }).click();
  await expect(form).toBeHidden();
  const lab = page.getByTestId("session-lab");
  await expect(lab).toContainText("by way of gate");
  await expect(lab).toContainText(`L :${port} → 127.0.0.1:${service.port}`);
  await lab.getByRole("button", { name: /^Connect/ }).click();
  await expect(lab.locator("[data-status]")).toHaveAttribute("data-status", "connected");
  expect(await curl(`http://127.0.0.1:${port}/`)).toBe("behind the gate");

  await desk.go("/settings/jump-hosts");
  await expect(gate).toContainText("lab session");
  await gate.getByRole("button", { name: "Delete gate" }).click();
  await expect(desk.dialog("gate is needed")).toContainText("lab");
  await page.keyboard.press("Escape");
  service.stop();
});

test("a profile says who needs it, keeps its secret to itself, and goes when nobody needs it", async ({ agent, sshd, desk }) => {
  const { page } = desk;
  const id = await agent.addProfile(sshd);
  const tunnel = await agent.addTunnel(sshd, id, { name: "proxy", local_port: await freePort() });
  await desk.go("/settings/profiles");
  const row = page.getByTestId("profile-me");
  await expect(row).toContainText("proxy tunnel");
  await row.getByRole("button", { name: "Delete me" }).click();
  await expect(desk.dialog("me is needed")).toContainText("proxy");
  await page.keyboard.press("Escape");

  await row.getByRole("button", { name: "Edit me" }).click();
  const form = page.getByRole("dialog");
  await form.getByLabel("Logs in by").selectOption({ label: "Password" });
  await form.getByRole("textbox", { name: "Password" }).fill("a secret that stays");
  await form.getByRole("button", { name: "Save" }).click();
  await expect(row).toContainText("password kept");
  expect(JSON.stringify(await agent.must("GET", "/profiles"))).not.toContain("a secret that stays");
  // Not even the form that took it shows it again.
  await row.getByRole("button", { name: "Edit me" }).click();
  await expect(form).toContainText("is kept");
  expect(await page.content()).not.toContain("a secret that stays");
  await form.getByRole("button", { name: "Forget password" }).click();
  await form.getByRole("button", { name: "Save" }).click();
  await expect(row).toContainText("no password yet");

  await agent.must("DELETE", `/tunnels/${tunnel}`);
  await expect(row).toContainText("nobody", { timeout: 2_000 });
  await row.getByRole("button", { name: "Delete me" }).click();
  const confirm = desk.dialog("Remove me?");
  await expect(confirm.getByRole("button", { name: "Cancel" })).toBeFocused();
  await confirm.getByRole("button", { name: "Remove" }).click();
  await expect(row).toHaveCount(0);
  expect(await agent.must("GET", "/profiles")).toEqual([]);
});

test("the hosts of ~/.ssh/config are imported", async ({ agent, desk }) => {
  const { page } = desk;
  const config = "Host bastion\n  HostName bastion.example\n  User alice\n  LocalForward 8080 intranet:80\n  ForwardX11 yes\n\nHost other\n  HostName other.example\n\nHost *\n  ServerAliveInterval 5\n";
  await writeFile(path.join(agent.home, ".ssh", "config"), config);
  await desk.go("/settings/import");
  await expect(page.getByRole("checkbox")).toHaveCount(2);
  await page.getByLabel("bastion").check();
  await page.getByRole("button", { name: "Import 1 host" }).click();
  const told = page.getByTestId("imported-bastion");
  await expect(told).toContainText("New:");
  await expect(told).toContainText("tunnel");
  await desk.goToTunnels();
  await expect(page.getByText("L :8080 → intranet:80")).toBeVisible();
  expect((await agent.must("GET", "/sessions")).map(({ name }: { name: string }) => name)).toEqual(["bastion"]);
});

test("an agent without an ssh config says so", async ({ desk }) => {
  await desk.go("/settings/import");
  await expect(desk.page.getByRole("alert")).toContainText(/ssh.config/);
});

test("settings hold for the agent, and locked secrets are asked for", async ({ agent, desk }) => {
  const { page } = desk;
  await desk.go("/settings/general");
  await expect(page.getByRole("radio", { name: /^Ask/ })).toBeChecked();
  await page.getByRole("radio", { name: /^Refuse/ }).check();
  await expect.poll(async () => (await agent.must("GET", "/settings")).host_key_policy).toBe("strict");

  const profile = { name: "with password", username: "nobody", auth_method: "password", password: "kept in the vault" };
  await agent.must("POST", "/profiles", profile);
  await page.getByRole("button", { name: "Choose what opens them" }).click();
  const dialog = desk.dialog("What opens the secrets");
  await dialog.getByRole("radio", { name: /^A passphrase/ }).check();
  await dialog.getByRole("textbox", { name: "New passphrase" }).fill("open sesame");
  await dialog.getByRole("button", { name: "Move" }).click();
  await expect(dialog).toBeHidden();
  await agent.kill();
  await agent.startAgain();
  await expect(page.getByTestId("secrets-locked")).toBeVisible({ timeout: 15_000 });
  await page.getByRole("textbox", { name: "Passphrase of the secrets" }).fill("close sesame");
  await page.getByRole("button", { name: "Unlock", exact: true }).click();
  await expect(page.getByRole("alert")).toContainText(/passphrase/);
  await page.getByRole("textbox", { name: "Passphrase of the secrets" }).fill("open sesame");
  await page.getByRole("button", { name: "Unlock", exact: true }).click();
  await expect(page.getByTestId("secrets-locked")).toBeHidden();
  expect(await agent.must("GET", "/secrets")).toEqual({ locked: false, key: "passphrase" });
});
