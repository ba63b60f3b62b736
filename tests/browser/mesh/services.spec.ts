// The table is what `GET /api/dashboard` says, the map is what is linked, and both stay so.

import type { Locator } from "@playwright/test";

import { tabTo } from "../window.ts";
import { type ForwardRoute, LINE, type Plan } from "./harness.ts";
import { expect, test } from "./story.ts";

const HEADS = ["Key", "Ingress", "Listener", "Exit", "Target", "Hops"];
const STATES: Record<string, string> = {
  up: "up",
  target_down: "target down",
  unreachable: "no way",
  no_listener: "no listener",
  no_endpoint: "no endpoint",
};

/** A row as its cells say it, with the state of its badge. */
async function read(row: Locator): Promise<string[]> {
  const cells = await row.locator("td").allInnerTexts();
  const texts = [await row.getByTestId("key").innerText(), ...cells, await row.locator(".badge").innerText()];
  return texts.map((text) => text.trim());
}

function expected(route: ForwardRoute): string[] {
  const { key, ingress_agent, listener_address, exit_agent, target, hop_count, state } = route;
  const cells = [ingress_agent, listener_address, exit_agent, target, hop_count?.toString() ?? null].map((text) => text ?? "–");
  return [key, ...cells, STATES[state] ?? state];
}

test("the table of a line of four agents agrees with the dashboard", async ({ mesh, desk }) => {
  const line = await mesh(LINE);
  const board = async () => (await line.agent("hq").dashboard()).forward_routes;
  await expect.poll(async () => (await board()).length).toBe(3);
  const routes = await board();
  expect(routes.map(({ hop_count }) => hop_count).sort()).toEqual([1, 2, 3]);
  await desk.visit(line.agent("hq"));
  await expect(desk.services).toHaveCount(routes.length);
  expect(await desk.page.getByRole("table", { name: "Forwarded services" }).getByRole("columnheader").allInnerTexts()).toEqual(HEADS);
  expect(await Promise.all((await desk.services.all()).map(read))).toEqual(routes.map(expected));

  // The path is there on demand, by keyboard too.
  for (const [at, route] of routes.entries()) {
    const button = desk.services.nth(at).getByRole("button");
    await tabTo(button);
    await desk.page.keyboard.press("Enter");
    await expect(button).toHaveAttribute("aria-expanded", "true");
    const agents = desk.page.getByTestId("path").getByRole("listitem");
    await expect(agents).toHaveCount(route.path_display.length);
    expect(await agents.locator("bdi").allInnerTexts()).toEqual(route.path_display);
    await desk.page.keyboard.press("Enter");
    await expect(desk.page.getByTestId("path")).toHaveCount(0);
  }

  // Another agent sees the same, from where it stands.
  await desk.visit(line.agent("attic"));
  await expect(desk.services).toHaveCount(routes.length);
  expect(await Promise.all((await desk.services.all()).map(read))).toEqual(routes.map(expected));
});

test("a service is gone with its agent, and comes back with it", async ({ mesh, desk }) => {
  test.slow();
  const line = await mesh(LINE);
  await desk.visit(line.agent("hq"));
  const files = desk.service("my-files", "hq");
  await expect(files).toHaveAttribute("data-state", "up");
  await expect(files).toContainText("attic");
  await line.agent("attic").stop();
  await expect(files).toHaveAttribute("data-state", "no_endpoint", { timeout: 10_000 });
  await expect(desk.services.filter({ hasText: "attic" })).toHaveCount(0);
  await expect(desk.agent("attic")).toHaveCount(0);
  await expect(desk.service("my-shell", "hq")).toHaveAttribute("data-state", "up");

  await line.agent("attic").start();
  await expect(files).toHaveAttribute("data-state", "up", { timeout: 15_000 });
  await expect(desk.agent("attic")).toHaveCount(1);

  // The line breaks in the middle: the listener's own side is left.
  await line.agent("relay").stop("SIGKILL");
  await expect(desk.services.filter({ hasText: "relay" })).toHaveCount(0, { timeout: 15_000 });
  await expect(desk.map.locator("[data-agent]")).toHaveCount(1, { timeout: 15_000 });
});

test("the map has every agent and every link, and shows the path to what is pointed at", async ({ mesh, desk }) => {
  const line = await mesh(LINE);
  const { page } = desk;
  const { routes, links } = await line.agent("hq").dashboard();
  await desk.visit(line.agent("hq"));
  await expect(desk.map.locator("[data-agent]")).toHaveCount(4);
  const drawn = await desk.map.locator("[data-agent]").evaluateAll((agents) => agents.map((agent) => agent.getAttribute("data-agent")));
  expect(drawn.sort()).toEqual(routes.map(({ agent_id }) => agent_id).sort());
  const lines = await desk.map.locator("[data-link]").evaluateAll((links) => links.map((link) => link.getAttribute("data-link")));
  expect(lines.sort()).toEqual(links.map(({ a, b }) => [a, b].sort().join(" ")).sort());
  expect(lines).toHaveLength(3);
  await expect(desk.agent("hq")).toHaveClass(/\bthis\b/);

  await desk.agent("branch").hover();
  expect(await desk.onPath()).toEqual(["branch", "hq", "relay"]);
  await expect(desk.map.locator(".link.on")).toHaveCount(2);
  await expect(page.getByTestId("told")).toHaveText("hq → relay → branch: 2 hops");
  await desk.service("my-shell", "relay").hover();
  expect(await desk.onPath()).toEqual(["branch", "relay"]);

  // By keyboard: one stop, then the arrows, the nearest first.
  await page.mouse.move(0, 0);
  await tabTo(desk.agent("hq"));
  await page.keyboard.press("End");
  await expect(desk.agent("attic")).toBeFocused();
  expect(await desk.onPath()).toEqual(["attic", "branch", "hq", "relay"]);
  await page.keyboard.press("ArrowLeft");
  await expect(desk.agent("branch")).toBeFocused();
  await page.keyboard.press("End");
  await page.keyboard.press("Enter");
  await expect(desk.agent("attic")).toHaveAttribute("aria-pressed", "true");
  await expect(desk.services).toHaveCount(1);
  await expect(desk.services).toContainText("my-files");
  await page.getByRole("button", { name: "Show all" }).click();
  await expect(desk.services).toHaveCount(3);

  await page.getByText("As a list").click();
  await expect(page.getByTestId("agent")).toHaveCount(4);
  await expect(page.getByTestId("agent").filter({ hasText: "hq → relay → branch → attic" })).toHaveCount(1);
});

/** One agent that forwards to itself. */
const ALONE: Record<string, Plan> = {
  hq: { listeners: [{ key: "my-files", port: 9001 }], endpoints: [{ key: "my-files", target: "127.0.0.1:80" }] },
};

for (const [how, signal] of [["killed", "SIGKILL"], ["frozen", "SIGSTOP"]] as const) {
  test(`of an agent that is ${how} nothing is known`, async ({ mesh, desk }) => {
    test.slow();
    const alone = await mesh(ALONE);
    const { page } = desk;
    await desk.visit(alone.agent("hq"));
    await expect(desk.services).toHaveAttribute("data-state", "up");
    await expect(desk.services).toContainText("up");

    alone.agent("hq").signal(signal);
    // A killed one is gone with its connection; a frozen one by its silence.
    await expect(page.getByTestId("agent-gone")).toBeVisible({ timeout: signal === "SIGKILL" ? 2_000 : 15_000 });
    await expect(desk.services.locator(".badge")).toHaveText("not known");
    await expect(page.locator(".badge.good")).toHaveCount(0);
    await expect(desk.map).toHaveClass(/\bunknown\b/);
    await desk.go("/mesh/agent");
    await expect(page.getByTestId("connections")).toHaveText("not known");
    await expect(page.locator(".badge.good")).toHaveCount(0);

    if (signal === "SIGKILL") await alone.agent("hq").start();
    else alone.agent("hq").signal("SIGCONT");
    await expect(page.getByTestId("agent-gone")).toBeHidden({ timeout: 15_000 });
    await expect(page.getByTestId("connections")).toHaveText("0");
  });
}
