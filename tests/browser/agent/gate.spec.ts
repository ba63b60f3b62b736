// Who is let in: a code once, or the token; and nobody else.

import { ask } from "../web.ts";
import { expect, test, TUNNELS } from "./story.ts";

test("the address of adit open lets one browser in, once, and the token is never in an address", async ({ agent, stranger }) => {
  const desk = await stranger();
  const addresses: string[] = [];
  desk.page.on("request", (request) => addresses.push(request.url(), request.headers()["referer"] ?? ""));
  const { url } = JSON.parse(await agent.adit("open", "--print", "--json"));
  await desk.page.goto(url);
  await expect(desk.page.getByRole("heading", { level: 1, name: "SSH Tunnels" })).toBeVisible();
  expect(new URL(desk.page.url()).hash).toBe(`#${TUNNELS}`);
  // Nor is the code: what stands behind # reaches no server, and is gone from the address.
  const code = /code=([0-9a-f]{64})$/.exec(new URL(url).hash)?.[1] ?? "";
  expect(code).not.toBe("");
  const token = await agent.token();
  for (const address of [...addresses, desk.page.url()]) {
    expect(address).not.toContain(token);
    expect(address).not.toContain(code);
  }
  await desk.page.reload();
  await expect(desk.page.getByRole("heading", { level: 1, name: "SSH Tunnels" })).toBeVisible();

  const other = await stranger();
  await other.page.goto(url);
  await expect(other.page.getByRole("heading", { level: 1, name: "Open the agent" })).toBeVisible();
  await expect(other.page.getByRole("status").filter({ hasText: "adit open" })).toBeVisible();
});

test("who types localhost is at the agent's own address", async ({ agent, stranger }) => {
  const { page } = await stranger();
  const { port } = new URL(agent.url);
  const { url } = JSON.parse(await agent.adit("open", "--print", "--json"));
  // The part behind # goes along.
  await page.goto(`http://localhost:${port}/${new URL(url).hash}`);
  await expect(page.getByRole("heading", { level: 1, name: "SSH Tunnels" })).toBeVisible();
  expect(new URL(page.url()).origin).toBe(agent.url);
});

test("the token itself opens the page; another text does not", async ({ agent, stranger }) => {
  const { page } = await stranger();
  await page.goto(agent.url);
  await page.getByRole("textbox", { name: "The agent’s token" }).fill("0123456789abcdef0123456789abcdef");
  await page.getByRole("button", { name: "Open", exact: true }).click();
  await expect(page.getByRole("alert")).toContainText("token");
  await page.getByRole("textbox", { name: "The agent’s token" }).fill(` ${await agent.token()} `);
  await page.getByRole("button", { name: "Open", exact: true }).click();
  await expect(page.getByRole("heading", { level: 1, name: "SSH Tunnels" })).toBeVisible();
});

test("a new token locks every other browser out, and this one goes on", async ({ agent, desk, stranger }) => {
  const other = await stranger();
  await other.enter();
  const before = await agent.token();
  await desk.go("/settings/general");
  // Every heading that shows in between.
  const away = await desk.page.evaluateHandle(() => {
    const headings: string[] = [];
    const look = () => {
      const heading = document.querySelector("h1")?.textContent ?? "none";
      if (heading !== "General") headings.push(heading);
    };
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true });
    return headings;
  });
  await desk.page.getByRole("button", { name: "Replace the token" }).click();
  await desk.dialog("Replace the token?").getByRole("button", { name: "Replace", exact: true }).click();
  await expect(desk.page.getByText("The token is replaced.")).toBeVisible();
  // Nothing that was open here closed meanwhile.
  await expect(desk.page.getByRole("heading", { level: 1, name: "General" })).toBeVisible();
  expect(await away.jsonValue()).toEqual([]);
  await expect(other.page.getByRole("heading", { level: 1, name: "Open the agent" })).toBeVisible({ timeout: 10_000 });
  const after = await agent.token();
  expect(after).not.toBe(before);
  expect((await ask(agent.url, "GET", "/tunnels", { authorization: `Bearer ${before}` })).status).toBe(401);
  await desk.goToTunnels();
  await agent.must("POST", "/profiles", { name: "new", username: "bob", auth_method: "agent" });
  await desk.go("/settings/profiles");
  await expect(desk.page.getByTestId("profile-new")).toBeVisible();
  await desk.go("/settings/general");
  await desk.page.getByRole("button", { name: "Copy token" }).click();
  expect(await desk.clipboard()).toBe(after);
  await desk.page.getByRole("button", { name: "Forget it in this browser" }).click();
  await expect(desk.page.getByRole("heading", { level: 1, name: "Open the agent" })).toBeVisible();
  await desk.page.reload();
  await expect(desk.page.getByRole("heading", { level: 1, name: "Open the agent" })).toBeVisible();
});

test("another site can neither show the page nor ask the agent", async ({ agent, desk }) => {
  for (const headers of [{ host: "evil.example" }, { host: new URL(agent.url).host, origin: "http://evil.example" }]) {
    for (const route of ["/", "/tunnels", "/page/enter"]) {
      const answer = await ask(agent.url, route === "/page/enter" ? "POST" : "GET", route, headers, route === "/page/enter" ? { code: "0" } : undefined);
      expect(answer.status, `${route} ${JSON.stringify(headers)}`).toBe(403);
    }
  }
  const page = await ask(agent.url, "GET", "/", { host: new URL(agent.url).host });
  expect(page.headers["content-security-policy"]).toContain("default-src 'none'");
  expect(page.headers["content-security-policy"]).toContain("frame-ancestors 'none'");
  expect((await ask(agent.url, "GET", "/tunnels", { host: new URL(agent.url).host })).status).toBe(401);
  await expect(desk.page.getByRole("heading", { level: 1 })).toBeVisible();
});

test("names that others chose are text", async ({ agent, sshd, desk }) => {
  const profile = (await agent.must("POST", "/profiles", { name: "<b>bold</b>", username: "<script>alert(1)</script>", auth_method: "agent" })).id;
  await agent.addTunnel(sshd, profile, { name: "<img src=x onerror=alert(1)>", local_port: 1 });
  await agent.must("POST", "/sessions", { name: "<svg onload=alert(1)>", host: "127.0.0.1", profile_id: profile });
  for (const path of [TUNNELS, "/settings/sessions", "/settings/profiles"]) {
    await desk.go(path);
    await expect(desk.page.locator("main")).toContainText("<");
    await expect(desk.page.locator("main img, main script, main b")).toHaveCount(0);
  }
  await desk.openPopover();
  await expect(desk.popover).toContainText("<img src=x onerror=alert(1)>");
});
