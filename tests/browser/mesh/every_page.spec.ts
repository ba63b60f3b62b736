// Every address of the mesh agent's pages, in each state that looks different, as axe judges it and without anything to scroll sideways.

import { type PagePath, PAGES } from "../../../web/src/mesh/places.ts";
import { judge } from "../judge.ts";
import { LINE } from "./harness.ts";
import { type Desk, expect, test } from "./story.ts";

/** Of every page of the menu; one without a title here fails. */
const TITLES: Record<PagePath, string> = { "/mesh/services": "Forwarded Services", "/mesh/agent": "This Agent" };

async function judgeAll(desk: Desk, state: string): Promise<void> {
  const { page } = desk;
  for (const path of PAGES) {
    await desk.go(path);
    await expect(page.getByRole("heading", { level: 1, name: TITLES[path] })).toBeVisible();
    await judge(page, `mesh-${path.split("/").at(-1)}${state}`);
  }
}

test("pages: a line of agents", async ({ mesh, desk }) => {
  test.setTimeout(150_000);
  const line = await mesh(LINE);
  const { page } = desk;
  await desk.visit(line.agent("hq"));
  await expect(desk.services).toHaveCount(3);
  await desk.services.first().getByRole("button").click();
  await page.getByText("As a list").click();
  await judgeAll(desk, "");
  await desk.go("/mesh/nothing");
  await expect(page.getByRole("heading", { level: 1, name: "There is nothing here" })).toBeVisible();
  await judge(page, "mesh-not-found");
  await line.agent("hq").stop();
  await expect(page.getByTestId("agent-gone")).toBeVisible();
  await desk.go("/mesh/services");
  await expect(desk.map).toHaveClass(/\bunknown\b/);
  // Who leaves the mesh says at last that they see nothing in it, which is no reason to tell how services are made.
  await expect(page.getByText("Nobody publishes or listens yet.")).toHaveCount(0);
  await judgeAll(desk, "-gone");
});

test("pages: an agent alone says what to do next", async ({ mesh, desk }) => {
  test.setTimeout(150_000);
  const alone = await mesh({ hq: {} });
  const { page } = desk;
  await desk.visit(alone.agent("hq"));
  await expect(page.getByText("Nobody publishes or listens yet.")).toBeVisible();
  await expect(page.getByRole("region", { name: "example" })).toContainText("forward:");
  await judgeAll(desk, "-empty");
  await expect(page.getByText("This agent has no links.")).toBeVisible();
});
