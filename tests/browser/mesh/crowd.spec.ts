// A mesh that no test machine could run: 100 agents and 1,000 services, as an agent would tell them. What is bounded is what the page keeps
// in the document, which no machine's speed moves.

import { judge } from "../judge.ts";
import { expect, test } from "./story.ts";

const AGENTS = 100;
const SERVICES = 1_000;
/** The rows of one page of a list. */
const PAGE = 50;

const id = (agent: number) => agent.toString(16).padStart(32, "0");
/** Some are as long as they may be, one is written from right to left. */
function nameOf(agent: number): string {
  if (agent === 1) return "משרד ראשי";
  return agent % 10 === 3 ? `agent-${agent}-${"x".repeat(55)}` : `agent-${agent}`;
}

/** A tree of which each agent has three more behind it. */
function pathTo(agent: number): number[] {
  return agent === 0 ? [0] : [...pathTo(Math.floor((agent - 1) / 3)), agent];
}

function crowd() {
  const agents = Array.from({ length: AGENTS }, (_, agent) => agent);
  const path = (agent: number) => ({
    hop_count: pathTo(agent).length - 1,
    path_display: pathTo(agent).map(nameOf),
    path_ids: pathTo(agent).map(id),
  });
  return {
    agent: {
      id: id(0), name: nameOf(0), mesh: id(7), uptime_s: 90_061, publish: ["*"], listen: [`${"long-".repeat(50)}*`], transit: false,
      expires: 18_446_744_073, expelled: "its membership was taken back", connections: 12,
    },
    stats: {
      keys: Array.from({ length: 60 }, (_, key) => ({
        key: `key-${key}`, active: 1, opened: 2, failed: 3, over_limit: 4, bytes_in: 5_000, bytes_out: 6_000_000,
        last_failure: key === 0 ? "the target does not take connections: connection refused" : null,
      })),
      refused: [{ reason: "unknown key", count: 1_234 }],
      transits: 3, stalled: 1, transit_bytes: 1_000_000, datagrams_lost: 4, datagrams_repeated: 5, resumed: 6, tampered: 2, records_rejected: 1, links_refused: 9,
      control_bytes_in: 1_000, control_bytes_out: 2_000,
    },
    peers: [
      { id: id(1), name: nameOf(1), address: "192.0.2.1:4433", connected: true, carrier: "quic", rtt_ms: 1.25, up_s: 3_700, error: null },
      { id: id(2), name: nameOf(2), address: "192.0.2.2:4433", connected: true, carrier: "tcp", rtt_ms: null, up_s: 1, error: null },
      {
        id: null, name: null, address: `${"a".repeat(63)}.example:4433`, connected: false, carrier: null, rtt_ms: null, up_s: null,
        error: "nobody answers there",
      },
    ],
    routes: agents.map((agent) => ({ agent: nameOf(agent), agent_id: id(agent), cost: 1, ...path(agent) })),
    forward_routes: Array.from({ length: SERVICES }, (_, service) => ({
      key: service % 7 === 0 ? `service-${service}-${"k".repeat(80)}` : `service-${service}`,
      protocol: "tcp", ingress_agent: nameOf(0), ingress_agent_id: id(0), listener_address: `:${10_000 + service}`,
      exit_agent: nameOf(service % AGENTS), exit_agent_id: id(service % AGENTS), target: `10.0.0.${service % 250}:80`,
      ...path(service % AGENTS),
      state: service % 10 === 9 ? "target_down" : "up",
    })),
    forward_routes_left_out: 576,
    links: agents.slice(1).map((agent) => ({ a: id(Math.floor((agent - 1) / 3)), b: id(agent), cost: 1 })),
  };
}

test("100 agents and 1,000 services: a map, pages of rows, a filter", async ({ mesh, desk }) => {
  test.setTimeout(240_000);
  const { page } = desk;
  const alone = await mesh({ hq: {} });
  // There is no stream, so the page asks.
  await page.route("**/api/events", (route) => route.fulfill({ status: 429, json: { error: "too many", code: "TOO_MANY_STREAMS" } }));
  await page.route("**/api/dashboard", (route) => route.fulfill({ json: crowd() }));
  await desk.visit(alone.agent("hq"));
  await expect(page.getByTestId("no-stream")).toBeVisible();
  await expect(page.getByTestId("expelled")).toContainText("its membership was taken back");
  await expect(desk.map.locator("[data-agent]")).toHaveCount(AGENTS);
  await expect(desk.map.locator("[data-link]")).toHaveCount(AGENTS - 1);
  await expect(desk.services).toHaveCount(PAGE);
  await expect(page.getByText(`1–${PAGE} of 1,000 routes`)).toBeVisible();
  await expect(page.getByText("576 more not shown")).toBeVisible();
  expect(await page.locator("*").count()).toBeLessThan(3_000);
  await judge(page, "mesh-services-crowd");

  // No name lies on another.
  const labels = await desk.map.locator("text").evaluateAll((texts) => texts.map((text) => text.getBoundingClientRect().toJSON()));
  const overlapping = labels.flatMap((one, at) =>
    labels.slice(at + 1).filter((other) => one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom),
  );
  expect(overlapping).toEqual([]);

  // What is told again moves nothing: rows and agents stay the same elements.
  await page.evaluate(() => {
    const changes = { count: 0 };
    Object.assign(window, { changes });
    const watcher = new MutationObserver((some) => (changes.count += some.filter(({ type }) => type === "childList").length));
    for (const parent of document.querySelectorAll("[data-testid=map], tbody")) watcher.observe(parent, { childList: true });
  });
  const again = () => page.waitForResponse((answer) => answer.url().endsWith("/api/dashboard"), { timeout: 30_000 });
  await again();
  await again();
  expect(await page.evaluate(() => (window as unknown as { changes: { count: number } }).changes.count)).toBe(0);

  const pages = page.getByRole("navigation", { name: "Pages of routes" });
  await pages.getByRole("button", { name: "Next" }).click();
  await expect(pages).toContainText("51–100 of 1,000 routes");
  const search = page.getByLabel("Search by key, agent, address or state");
  await search.fill("service-777");
  await expect(desk.services).toHaveCount(1);
  await search.fill("target down");
  await expect(pages).toContainText("of 100 routes");
  await search.fill("nothing of it");
  await expect(page.getByText("Nothing fits.")).toBeVisible();
  await search.fill("");
  await expect(pages).toContainText("of 1,000 routes");
  await desk.agent("agent-42").click();
  await expect(page.getByTestId("selected")).toContainText("agent-42");
  await expect(desk.services).toHaveCount(SERVICES / AGENTS);

  await desk.go("/mesh/agent");
  await expect(page.getByTestId("tampered")).toContainText("2 sessions were ended");
  await expect(page.getByTestId("turned-away")).toContainText("1,234 × unknown key");
  await expect(page.getByTestId("link")).toHaveCount(3);
  await expect(page.getByTestId("link").filter({ hasText: "not connected" })).toContainText("nobody answers there");
  await judge(page, "mesh-agent-crowd");
});
