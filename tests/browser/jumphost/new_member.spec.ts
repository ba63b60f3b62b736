// The whole way of a member who has nothing yet: a link, a key, a command, a visitor; and the key taken away again.

import { serve } from "../web.ts";
import { listens, visit } from "./harness.ts";
import { expect, test, untilGone } from "./story.ts";

/** What the page promises between a change and its sight. */
const SEEN_WITHIN = 1_000;

/** The exact number of bytes is in the title of the rounded one. */
function bytesIn(title: string | null): number {
  return Number((title ?? "").replace(/ bytes.*$/, "").replaceAll(/\D/g, ""));
}

test("from the invitation to a visitor, and away with Remove Key", async ({ host, stranger }) => {
  const nina = await stranger("nina");
  const { page } = nina;
  const service = await serve("hello from nina");
  const { url } = await host.admin("invite", "--account", "nina");
  await nina.accept(url);
  let loads = 0;
  page.on("load", () => (loads += 1));

  await expect(page.getByTestId("key-badge")).toHaveText("NOT CONFIGURED");
  const cards = ["How to Connect", "Live tunnels", "Registered Ports"];
  for (const name of cards) await expect(page.getByRole("heading", { name })).toHaveCount(0);
  await expect(page.getByRole("heading", { name: "Connection info" })).toBeVisible();

  await nina.saveKey("my laptop");
  for (const name of cards) await expect(page.getByRole("heading", { name })).toBeVisible();

  await page.getByLabel("Service port").fill(String(service.port));
  const command = await page.getByTestId("command-plain").innerText();
  const shared = await page.getByTestId("share-address").innerText();
  expect(shared).toBe(`${host.address}:10080`);
  const ssh = nina.machine.shell(command);
  await ssh.says("Tunnel-only access for nina.");
  const row = page.getByTestId("tunnel-10080");
  await expect(row).toBeVisible({ timeout: SEEN_WITHIN });
  await expect(row).toContainText("my laptop");
  await expect(row).toContainText(shared);

  expect(await visit(host, 10080)).toBe("hello from nina");
  const out = row.getByTestId("bytes-out");
  await expect.poll(async () => bytesIn(await out.getAttribute("title")), { timeout: 2_000 }).toBeGreaterThan(0);
  const before = bytesIn(await out.getAttribute("title"));
  expect(await visit(host, 10080)).toBe("hello from nina");
  await expect.poll(async () => bytesIn(await out.getAttribute("title")), { timeout: 2_000 }).toBeGreaterThan(before);

  await page.getByRole("button", { name: "Remove Key my laptop" }).click();
  const watch = await untilGone(page, ["[data-testid^=tunnel-]", "[data-testid^=command-]", "[data-testid=key-row]"]);
  await page.getByRole("dialog").getByRole("button", { name: "Remove Key" }).click();
  expect(await watch.milliseconds()).toBeLessThan(SEEN_WITHIN);
  expect(await ssh.exitCode(2_000)).toBe(255);
  expect((ssh.endedAt ?? Infinity) - (await watch.clickedAt())).toBeLessThan(SEEN_WITHIN);
  expect(await listens(host, 10080)).toBe(false);
  await expect(page.getByTestId("key-badge")).toHaveText("NOT CONFIGURED");
  for (const name of cards) await expect(page.getByRole("heading", { name })).toHaveCount(0);

  const again = nina.machine.shell(command);
  expect(await again.exitCode(10_000)).toBe(255);
  expect(again.output).toContain("Permission denied (publickey).");
  expect(loads).toBe(0);
  service.stop();
});

test("a visitor with a browser, at a port that browsers open", async ({ host, member, stranger }) => {
  const nina = await member("nina");
  const service = await serve("hello from nina");
  await nina.saveKey();
  await nina.forward(18080, service.port);
  await nina.forward(10080, service.port);
  const { page } = await stranger("visitor");
  await page.goto(`http://${host.address}:18080/`);
  await expect(page.getByText("hello from nina")).toBeVisible();

  // Port 10080 is on every browser's list of ports to refuse, so the page warns of it, and of no other.
  await expect(page.goto(`http://${host.address}:10080/`)).rejects.toThrow("ERR_UNSAFE_PORT");
  const warning = nina.page.getByTestId("browsers-refuse");
  await nina.page.getByLabel("Jump host port").fill("10080");
  await expect(warning).toBeVisible();
  await nina.page.getByLabel("Jump host port").fill("18080");
  await expect(warning).toHaveCount(0);
  service.stop();
});

test("a link works once, and says so kindly", async ({ host, stranger }) => {
  const [nina, late] = [await stranger("nina"), await stranger("late")];
  const { url } = await host.admin("invite");
  await nina.accept(url);
  await late.page.goto(url);
  await expect(late.page.getByRole("heading", { name: "This link does not work" })).toBeVisible();
});

test("the lines for known_hosts are the host's own", async ({ host, member }) => {
  const nina = await member("nina");
  await nina.saveKey();
  await nina.page.getByText("Trust it before the first connection").click();
  const trust = nina.machine.shell(`sh -c '${(await nina.page.getByTestId("known-hosts").innerText()).replaceAll("'", `'\\''`)}'`);
  expect(await trust.exitCode(5_000)).toBe(0);
  // With a wrong or missing line this client refuses the host instead of learning its key.
  const target = `-p ${host.sshPort} tunnel@${host.address}`;
  const ssh = nina.machine.shell(`ssh -o StrictHostKeyChecking=yes -i ~/.ssh/adit_jump ${target}`);
  await ssh.says("Tunnel-only access for nina.");
});
