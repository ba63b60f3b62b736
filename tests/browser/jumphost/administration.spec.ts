// Running a community without the command line.

import { readFile } from "node:fs/promises";

import { serve } from "../web.ts";
import { listens } from "./harness.ts";
import { expect, test } from "./story.ts";

test("an invitation, a session killed, its trace in the audit log, and an account switched off", async ({
  host,
  administrator,
  stranger,
}) => {
  const service = await serve("hello from bob");
  const root = await administrator("root");
  const { page } = root;
  // The printed link has done its work.
  const late = await stranger("late");
  await late.page.goto(host.firstAdministratorLink);
  await expect(late.page.getByRole("heading", { name: "This link does not work" })).toBeVisible();

  await page.goto(`${host.url}/#/admin/invitations`);
  await page.getByRole("button", { name: "Make a link" }).click();
  await page.getByRole("button", { name: "Make link" }).click();
  const link = (await page.getByTestId("one-time-link").innerText()).trim();
  const bob = await stranger("bob");
  await bob.accept(link);
  await bob.saveKey("bob's laptop");
  const ssh = await bob.forward(10080, service.port);

  await page.goto(`${host.url}/#/admin/sessions`);
  const row = page.getByTestId(/^session-/).filter({ hasText: "10080" });
  await expect(row).toContainText("bob's laptop");
  await row.getByRole("button", { name: /^End session \d+ of bob$/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: "End session" }).click();
  expect(await ssh.exitCode(2_000)).toBe(255);
  expect(await listens(host, 10080)).toBe(false);
  await expect(row).toHaveCount(0);

  await page.goto(`${host.url}/#/admin/audit`);
  const killed = page.getByRole("row").filter({ hasText: "session-cut" }).filter({ hasText: "bob" });
  await expect(killed.first()).toBeVisible();
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Download CSV" }).click(),
  ]);
  const csv = await readFile(await download.path(), "utf8");
  expect(download.suggestedFilename()).toMatch(/\.csv$/);
  expect(csv.split("\n").filter((line) => line.includes("bob")).length).toBeGreaterThan(2);

  const again = await bob.forward(10080, service.port);
  const proof = await bob.proof();
  await page.goto(`${host.url}/#/admin/accounts`);
  await page.getByRole("button", { name: "Manage bob" }).click();
  await page.getByRole("button", { name: "Disable", exact: true }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Disable", exact: true }).click();
  await expect(page.getByTestId("account-bob")).toContainText("Disabled");
  expect(await again.exitCode(2_000)).toBe(255);
  await expect(bob.page.getByRole("heading", { name: "Sign in" })).toBeVisible();
  expect((await host.ask("GET", "/api/v1/me", proof)).status).toBe(401);
  await bob.signIn();
  await expect(bob.page.getByRole("alert")).toBeVisible();
  const refused = bob.machine.shell(`ssh -i ~/.ssh/adit_jump -p ${host.sshPort} tunnel@${host.address}`);
  expect(await refused.exitCode(10_000)).toBe(255);
  service.stop();
});

test("a member is no administrator", async ({ host, member }) => {
  const alice = await member("alice");
  await expect(alice.page.getByRole("link", { name: "Administration" })).toHaveCount(0);
  for (const route of ["accounts", "invitations", "tiers", "sessions", "audit", "audit.csv", "health", "settings"]) {
    const answer = await alice.call("GET", `/admin/${route}`);
    expect([answer.status, answer.body.code], route).toEqual([403, "not-admin"]);
  }
  await alice.page.goto(`${host.url}/#/admin/accounts`);
  await expect(alice.page.getByText("There is nothing here")).toBeVisible();
});

test("the last administrator stays one", async ({ administrator }) => {
  const root = await administrator("root");
  for (const [method, body] of [["PATCH", { admin: false }], ["PATCH", { disabled: true }], ["DELETE"]] as const) {
    const answer = await root.call(method, "/admin/accounts/root", body);
    expect([answer.status, answer.body?.code]).toEqual([409, "last-administrator"]);
  }
});

test("a password link lets its owner choose a new password, and ends the other sessions", async ({
  host,
  administrator,
  member,
  stranger,
}) => {
  const root = await administrator("root");
  const alice = await member("alice");
  const proof = await alice.proof();
  await root.page.goto(`${host.url}/#/admin/accounts`);
  await root.page.getByRole("button", { name: "Manage alice" }).click();
  await root.page.getByRole("button", { name: "Make a password link" }).click();
  const link = (await root.page.getByTestId("one-time-link").innerText()).trim();

  const back = await stranger("alice");
  await back.page.goto(link);
  await expect(back.page.getByRole("heading", { name: "Choose a new password" })).toBeVisible();
  await back.page.getByLabel("Password", { exact: true }).fill("another horse, another staple");
  await back.page.getByRole("button", { name: "Set password" }).click();
  await expect(back.page.getByRole("heading", { level: 1, name: "Reverse Tunnel" })).toBeVisible();
  await expect.poll(async () => (await host.ask("GET", "/api/v1/me", proof)).status).toBe(401);
  await expect(alice.page.getByRole("heading", { name: "Sign in" })).toBeVisible({ timeout: 6_000 });
});
