// An SSH client only says that a forward failed; the page says why, and what to do.

import { serve } from "../web.ts";
import { visit } from "./harness.ts";
import { expect, test } from "./story.ts";

test("a port outside the range", async ({ member }) => {
  const alice = await member("alice");
  await alice.saveKey();
  const ssh = await alice.forward(9999, 8000);
  expect(ssh.output).toContain("remote port forwarding failed for listen port 9999");
  const refusal = alice.page.getByTestId("refusal-9999");
  await expect(refusal).toContainText("10000");
  await expect(refusal).toContainText("60000");
  await expect(refusal).toContainText("laptop");
  await expect(alice.page.getByTestId("tunnel-9999")).toHaveCount(0);
  expect(ssh.endedAt).toBeNull();
});

test("a port that another account holds", async ({ host, member }) => {
  const [alice, bob] = [await member("alice"), await member("bob")];
  const service = await serve("hello from bob");
  await alice.saveKey();
  await bob.saveKey();
  await bob.forward(10080, service.port);
  const ssh = await alice.forward(10080, 8000);
  expect(ssh.output).toContain("remote port forwarding failed for listen port 10080");
  const refusal = alice.page.getByTestId("refusal-10080");
  await expect(refusal).toContainText(/another (account|member)/i);
  // Who it is stays with the holder.
  await expect(refusal).not.toContainText("bob");
  expect(await visit(host, 10080)).toBe("hello from bob");
  service.stop();
});

test("a port that an own session holds", async ({ member }) => {
  const alice = await member("alice");
  const service = await serve("hello from alice");
  await alice.saveKey();
  await alice.forward(10080, service.port);
  await alice.forward(10080, service.port);
  await expect(alice.page.getByTestId("refusal-10080")).toContainText(/your other session|another session of yours|your own/i);
  await expect(alice.page.getByTestId("tunnel-10080")).toHaveCount(1);
  service.stop();
});
