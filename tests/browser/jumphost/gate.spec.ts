// Who is let in: what a foreign page, a forged request, a guesser and an old cookie meet.

import { once } from "node:events";

import { serve } from "../web.ts";
import { expect, PASSWORD, test } from "./story.ts";

test("a foreign Host and a foreign Origin are 403 before anything else", async ({ host, member }) => {
  const alice = await member("alice");
  const proof = await alice.proof();
  expect((await host.ask("GET", "/api/v1/me", proof)).status).toBe(200);
  for (const [headers, code] of [
    [{ host: "evil.example" }, "foreign-host"],
    [{ host: `evil.example:${new URL(host.url).port}` }, "foreign-host"],
    [{ origin: "http://evil.example" }, "foreign-origin"],
    [{ origin: "null" }, "foreign-origin"],
  ] as const) {
    for (const route of ["/", "/api/v1/sign-in", "/api/v1/me", "/api/v1/events"]) {
      const answer = await host.ask("GET", route, { ...proof, ...headers });
      expect([answer.status, answer.body.code], `${JSON.stringify(headers)} ${route}`).toEqual([403, code]);
    }
  }
});

test("a member's service under the same host gets the cookie, and can do nothing with it", async ({ host, member }) => {
  const [alice, mallory] = [await member("alice"), await member("mallory")];
  const service = await serve("photos of the cat");
  await mallory.saveKey();
  await mallory.forward(18080, service.port);
  const visit = await alice.page.context().newPage();
  await visit.goto(`http://${host.address}:18080/`);
  await expect(visit.getByText("photos of the cat")).toBeVisible();
  expect(await visit.evaluate(() => localStorage.length)).toBe(0);

  // Browsers know no ports when they send cookies (RFC 6265 §8.5).
  const cookie = await alice.cookie();
  expect(service.cookies).toContain(cookie);
  const ask = async (method: string, route: string, headers: Record<string, string> = {}) => {
    const { status, body } = await host.ask(method, `/api/v1${route}`, { cookie, ...headers });
    return [status, body.code];
  };
  for (const route of ["/session", "/me", "/me/tunnels", "/events"]) {
    expect(await ask("GET", route), route).toEqual([401, "signed-out"]);
    // Mallory has a key, but to another session.
    expect(await ask("GET", route, { "x-csrf-token": await mallory.key() }), route).toEqual([401, "signed-out"]);
  }
  expect(await ask("DELETE", "/session", { origin: host.url })).toEqual([403, "csrf"]);
  expect(await ask("DELETE", "/session", { origin: `http://${host.address}:18080` })).toEqual([403, "foreign-origin"]);
  expect((await ask("DELETE", "/session"))[0]).toBe(403);
  expect((await alice.call("GET", "/me")).body.account).toBe("alice");
  // Nobody is told the key again.
  expect((await alice.call("GET", "/session")).body.csrf ?? null).toBeNull();
  service.stop();
});

test("a change without its CSRF token, or without an origin, is 403", async ({ host, member }) => {
  const alice = await member("alice");
  const cookie = await alice.cookie();
  const key = await alice.key();
  const port = { port: 10080, description: "", shared: false };
  const change = async (headers: Record<string, string>) => {
    const { status, body } = await host.ask("POST", "/api/v1/me/ports", { cookie, ...headers }, port);
    return [status, body.code];
  };
  expect(await change({ origin: host.url })).toEqual([403, "csrf"]);
  expect(await change({ origin: host.url, "x-csrf-token": "0".repeat(key.length) })).toEqual([403, "csrf"]);
  expect((await change({ "x-csrf-token": key }))[0]).toBe(403);
  expect((await change({ origin: "http://evil.example", "x-csrf-token": key }))[0]).toBe(403);
  // And with both it works, so it was for them.
  expect((await change({ origin: host.url, "x-csrf-token": key }))[0]).toBe(201);
});

test("ten bad passwords, then a wait that the page counts down", async ({ host, member, stranger }) => {
  await member("alice");
  const guesser = await stranger("alice");
  await guesser.page.clock.install();
  await guesser.page.goto(host.url);
  await expect(guesser.page.getByRole("heading", { name: "Sign in" })).toBeVisible();
  for (let guess = 1; guess < 10; guess += 1) {
    const wrong = { account: "alice", password: `a wrong password, number ${guess}` };
    expect((await guesser.call("POST", "/session", wrong)).status).toBe(401);
  }
  await guesser.signIn("the tenth wrong password");
  await expect(guesser.page.getByRole("alert")).toBeVisible();
  await expect(guesser.page.getByRole("button", { name: "Sign in", exact: true })).toBeEnabled();
  await guesser.signIn("the eleventh wrong password");
  const countdown = guesser.page.getByTestId("countdown");
  await expect(countdown).toContainText("Next attempt in");
  const button = guesser.page.getByRole("button", { name: "Sign in", exact: true });
  await expect(button).toBeDisabled();
  // The right password does not help the guesser: it would tell which one was right.
  const right = await guesser.call("POST", "/session", { account: "alice", password: PASSWORD });
  expect([right.status, right.body.code]).toEqual([429, "too-many-attempts"]);
  expect(right.body.retry_after).toBeGreaterThan(60);
  const first = await countdown.innerText();
  await guesser.page.clock.fastForward((right.body.retry_after - 30) * 1_000);
  await expect(countdown).not.toHaveText(first);
  await expect(countdown).toContainText(/in \d+ s/);
  await guesser.page.clock.fastForward(31_000);
  await expect(countdown).toHaveCount(0);
  await expect(button).toBeEnabled();
});

test("a session that was there before the sign-in is replaced", async ({ host, member }) => {
  const [alice, mallory] = [await member("alice"), await member("mallory")];
  const planted = await mallory.cookie();
  const [name] = planted.split("=");
  for (const cookie of [planted, `${name}=${"0".repeat(64)}`]) {
    const answer = await host.ask("POST", "/api/v1/session", { cookie, origin: host.url }, { account: "alice", password: PASSWORD });
    expect(answer.status).toBe(200);
    const [given] = answer.headers["set-cookie"]?.[0]?.split(";") ?? [];
    expect(given).toMatch(/=.{20,}/);
    expect(given).not.toBe(cookie);
    const key = { "x-csrf-token": answer.body.csrf };
    expect((await host.ask("GET", "/api/v1/me", { cookie: given, ...key })).body.account).toBe("alice");
    expect((await host.ask("GET", "/api/v1/me", { cookie, ...key })).status).toBe(401);
  }
  expect((await host.ask("GET", "/api/v1/me", await mallory.proof())).body.account, "a stolen cookie ends nobody's session").toBe("mallory");
  // The browser's own session, with both its halves, ends when it signs in again.
  const before = await alice.proof();
  expect((await host.ask("GET", "/api/v1/me", before)).status).toBe(200);
  const again = await host.ask("POST", "/api/v1/session", { ...before, origin: host.url }, { account: "alice", password: PASSWORD });
  expect(again.status).toBe(200);
  expect((await host.ask("GET", "/api/v1/me", before)).status).toBe(401);
});

test("the cookie is out of reach of scripts and other sites", async ({ member }) => {
  const alice = await member("alice");
  const [cookie] = await alice.page.context().cookies();
  expect(cookie).toMatchObject({ name: "__Host-adit", httpOnly: true, secure: true, sameSite: "Strict", path: "/" });
  expect(await alice.page.evaluate(() => document.cookie)).toBe("");
});

test("sign-out ends the session on the server, and its events within 5 s", async ({ host, member }) => {
  const alice = await member("alice");
  const proof = await alice.proof();
  const events = await host.open("GET", "/api/v1/events", proof);
  expect(events.statusCode).toBe(200);
  let heard = "";
  events.on("data", (piece) => (heard += piece));
  const ended = once(events, "end").then(() => Date.now());
  await expect.poll(() => heard).toContain("event: me");

  await alice.page.goto(`${host.url}/#/account`);
  await alice.page.getByRole("button", { name: "Sign out" }).click();
  await expect(alice.page.getByRole("heading", { name: "Sign in" })).toBeVisible();
  const out = Date.now();
  expect((await host.ask("GET", "/api/v1/me", proof)).status).toBe(401);
  await expect.poll(() => heard, { timeout: 5_000 }).toContain("event: signed-out");
  expect((await ended) - out).toBeLessThan(5_000);
  expect(await alice.page.context().cookies()).toEqual([]);
  expect(await alice.page.evaluate(() => localStorage.getItem("adit.session-key"))).toBeNull();
});
