// A private key that is pasted by mistake stays on the person's machine, as far as we can help it: it is neither sent by the
// page, nor kept by the server when something else sends it.

import { readdir, readFile } from "node:fs/promises";
import path from "node:path";

import { expect, test } from "./story.ts";

// The most that an operator can have logged.
test.use({ logged: "trace" });

/** Every file of the data folder, the database's log included. */
async function everything(folder: string): Promise<Buffer> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  return Buffer.concat(await Promise.all(files.map((file) => readFile(file))));
}

/** What gives the key away: its lines, and the secret itself as bytes (the 32 before the last copy of the public half). */
function secretsOf(pem: string, publicLine: string): (string | Buffer)[] {
  const lines = pem.split("\n").filter((line) => line !== "" && !line.startsWith("-----"));
  const decoded = Buffer.from(lines.join(""), "base64");
  const publicHalf = Buffer.from(publicLine.split(" ")[1] ?? "", "base64").subarray(-32);
  const end = decoded.lastIndexOf(publicHalf);
  expect(end).toBeGreaterThan(32);
  return ["PRIVATE KEY", ...lines.filter((line) => line.length > 16).slice(1), decoded.subarray(end - 32, end)];
}

test("a pasted private key is sent nowhere, and one that was sent is kept nowhere", async ({ host, member }) => {
  const alice = await member("alice");
  const { page } = alice;
  const line = await alice.machine.makeKey();
  const pem = await readFile(path.join(alice.machine.home, ".ssh/adit_jump"), "utf8");
  const secrets = secretsOf(pem, line);
  const sent: string[] = [];
  page.on("request", (request) => sent.push(request.url(), request.postData() ?? ""));

  const field = page.getByRole("textbox", { name: "Public key" });
  await field.fill(pem);
  await expect(page.getByTestId("key-advice")).toContainText("That was a private key");
  await expect(field).toHaveValue("");
  await page.getByRole("button", { name: "Save Key" }).click();
  await expect(page.getByTestId("key-badge")).toHaveText("NOT CONFIGURED");
  for (const secret of secrets.filter((secret) => typeof secret === "string")) expect(sent.join("\n")).not.toContain(secret);

  for (const [route, body, status] of [
    ["/me/keys", { text: pem }, 400],
    ["/me/keys", { text: pem.replaceAll("\n", "\r\n"), label: "windows" }, 400],
    ["/me/keys/claim-statement", { text: pem }, 400],
    ["/me/keys/claim", { text: pem, statement: "x", signature: "y" }, 400],
    // Nobody holds the key, so its signature is not even looked at.
    ["/me/keys/claim", { text: line, statement: "x", signature: pem }, 409],
  ] as const) {
    const answer = await alice.call("POST", route, body);
    expect(answer.status, route).toBe(status);
    for (const secret of secrets.slice(1)) expect(JSON.stringify(answer.body)).not.toContain(String(secret));
  }
  expect((await alice.call("POST", "/me/keys", { text: pem })).body.error).toMatch(/private key/i);

  // The public half is kept, and found by the same search: it could have found the other.
  expect((await alice.call("POST", "/me/keys", { text: line, label: "found-by-the-search" })).status).toBe(201);
  const kept = await everything(host.data);
  expect(kept.includes("found-by-the-search")).toBe(true);
  const ownKey = Buffer.from(await readFile(path.join(host.data, "host_key_ed25519")));
  for (const secret of secrets) {
    // The host's own key is a private one too, and has to be there.
    const found = secret === "PRIVATE KEY" ? count(kept, secret) - count(ownKey, secret) : count(kept, secret);
    expect(found, `kept: ${String(secret)}`).toBe(0);
    expect(host.log.includes(String(secret)), "logged").toBe(false);
  }
});

function count(bytes: Buffer, sought: string | Buffer): number {
  let found = 0;
  for (let at = bytes.indexOf(sought); at !== -1; at = bytes.indexOf(sought, at + 1)) found += 1;
  return found;
}
