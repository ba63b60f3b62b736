// Registered ports are an inventory: they bind nothing and stop nothing, and are nobody else's business until they are shared.

import { serve } from "../web.ts";
import { listens, visit } from "./harness.ts";
import { expect, test } from "./story.ts";

test("registering changes nothing for tunnels", async ({ host, member }) => {
  const [alice, bob] = [await member("alice"), await member("bob")];
  const service = await serve("hello from bob");
  await alice.saveKey();
  await bob.saveKey();

  await alice.register(10080, "my wiki, some day");
  await expect(alice.page.getByTestId("registered-10080")).toContainText("my wiki, some day");
  expect(await listens(host, 10080)).toBe(false);

  // What alice registered is free for bob, and what bob holds alice may register.
  await bob.forward(10080, service.port);
  await bob.forward(18080, service.port);
  await alice.register(18080, "somebody is there");
  expect(await visit(host, 10080)).toBe("hello from bob");
  expect(await visit(host, 18080)).toBe("hello from bob");
  await expect(alice.page.getByTestId("tunnel-10080")).toHaveCount(0);

  await alice.page.getByRole("button", { name: "Remove port 18080" }).click();
  await alice.page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await expect(alice.page.getByTestId("registered-18080")).toHaveCount(0);
  expect(await visit(host, 18080)).toBe("hello from bob");
  service.stop();
});

test("an entry is private until it is shared, and then every member sees it", async ({ host, member }) => {
  const [alice, bob] = [await member("alice"), await member("bob")];
  const service = await serve("hello from alice");
  await alice.saveKey();
  await alice.register(10080, "Photos of the cat");
  const entry = alice.page.getByTestId("registered-10080");
  await expect(entry.getByText("Private")).toBeVisible();
  expect((await bob.call("GET", "/directory")).body).toEqual({ total: 0, items: [] });

  await bob.page.goto(`${host.url}/#/reachability/directory`);
  await expect(bob.page.getByRole("heading", { level: 1, name: "Directory" })).toBeVisible();
  const listed = bob.page.getByTestId("directory-10080");
  await expect(listed).toHaveCount(0);

  await alice.page.getByRole("button", { name: "Edit port 10080" }).click();
  await alice.page.getByLabel("Show in the directory").check();
  await alice.page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
  await expect(entry.getByText("In the directory")).toBeVisible();
  await expect(listed).toContainText("Photos of the cat");
  await expect(listed).toContainText("alice");
  await expect(listed).toContainText(`${host.address}:10080`);

  await alice.forward(10080, service.port);
  await expect.poll(async () => (await bob.call("GET", "/directory")).body.items[0].live).toBe(true);

  await alice.page.getByRole("button", { name: "Edit port 10080" }).click();
  await alice.page.getByLabel("Show in the directory").uncheck();
  await alice.page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
  await expect(listed).toHaveCount(0);
  expect(await visit(host, 10080)).toBe("hello from alice");
  service.stop();
});

test("what belongs to another account is not there", async ({ host, member }) => {
  const [alice, bob] = [await member("alice"), await member("bob")];
  const service = await serve("hello from alice");
  await alice.saveKey();
  await alice.register(10080, "Photos of the cat");
  await alice.forward(10080, service.port);
  await expect(alice.page.getByTestId("tunnel-10080")).toBeVisible();
  const token = await alice.call("POST", "/me/tokens", { name: "backup", scopes: ["read"] });
  expect(token.status).toBe(201);

  const { body: me } = await alice.call("GET", "/me");
  const port = async () => (await alice.call("GET", "/me/ports")).body.items[0];
  const { id } = await port();
  const { body: live } = await alice.call("GET", "/me/tunnels");
  const key = encodeURIComponent(me.keys[0].fingerprint);
  const theirs: [string, string, unknown?][] = [
    ["PATCH", `/me/ports/${id}`, { shared: true }],
    ["DELETE", `/me/ports/${id}`],
    ["DELETE", `/me/keys/${key}`],
    ["DELETE", `/me/sessions/${live.tunnels[0].session}`],
    ["DELETE", `/me/tokens/${token.body.id}`],
  ];
  for (const [method, route, body] of theirs) {
    expect((await bob.call(method, route, body)).status, `${method} ${route}`).toBe(404);
  }

  const { body: after } = await alice.call("GET", "/me");
  // When the key was last used changes with every login.
  expect(after.keys.map((key: any) => key.fingerprint)).toEqual(me.keys.map((key: any) => key.fingerprint));
  expect((await port()).shared).toBe(false);
  expect((await alice.call("GET", "/me/tokens")).body).toHaveLength(1);
  expect(await visit(host, 10080)).toBe("hello from alice");
  service.stop();
});

test("Close ends the session of a tunnel", async ({ host, member }) => {
  const alice = await member("alice");
  const service = await serve("hello from alice");
  await alice.saveKey();
  const ssh = await alice.forward(10080, service.port);
  await alice.page.getByRole("button", { name: "Close port 10080" }).click();
  await alice.page.getByRole("dialog").getByRole("button", { name: "Close", exact: true }).last().click();
  expect(await ssh.exitCode(2_000)).toBe(255);
  await expect(alice.page.getByTestId("tunnel-10080")).toHaveCount(0);
  expect(await listens(host, 10080)).toBe(false);
  service.stop();
});
