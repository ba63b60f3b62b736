// The dashboard as people get it from afar: over TLS, through a reverse proxy.

import { execFile } from "node:child_process";
import { mkdir, readFile } from "node:fs/promises";
import http from "node:http";
import https from "node:https";
import type net from "node:net";
import path from "node:path";
import { promisify } from "node:util";

import { serve } from "../web.ts";
import { JumpHost, Machine } from "./harness.ts";
import { expect, PASSWORD, Person, test } from "./story.ts";

const run = promisify(execFile);

/** Where the proxy says that its visitors come from. */
const VISITOR = "203.0.113.7";

/** Does what nginx does with `proxy_pass`: ends TLS, adds the visitor's address, hands on what comes as it comes. */
class Proxy {
  upstream = "";
  private readonly server: https.Server;

  private constructor(key: Buffer, cert: Buffer) {
    this.server = https.createServer({ key, cert }, (request, response) => {
      const { host } = new URL(this.url);
      const headers = { ...request.headers, host, "x-forwarded-for": VISITOR };
      const { method, url } = request;
      const ask = http.request(new URL(url ?? "/", this.upstream), { method, headers, agent: false }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      });
      ask.on("error", () => response.destroy());
      response.on("close", () => ask.destroy());
      request.pipe(ask);
    });
  }

  static async start(folder: string): Promise<Proxy> {
    const [key, cert] = [path.join(folder, "key.pem"), path.join(folder, "cert.pem")];
    const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2"];
    await run("openssl", ["req", "-x509", ...kind, ...names, "-keyout", key, "-out", cert]);
    const proxy = new Proxy(await readFile(key), await readFile(cert));
    await new Promise<void>((resolve) => proxy.server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `https://localhost:${(this.server.address() as net.AddressInfo).port}`;
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}

test("over TLS the cookie is the host's own, rows are live, and the visitor's address is known", async ({ browser }, testInfo) => {
  await mkdir(testInfo.outputDir, { recursive: true });
  const proxy = await Proxy.start(testInfo.outputDir);
  const settings = `  web_url: ${proxy.url}\n  web_trusted_proxies: [127.0.0.1]\n`;
  const host = await JumpHost.start({ settings });
  proxy.upstream = host.url;
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const alice = new Person("alice", host, await context.newPage(), await Machine.make(host.folder, "alice"));
  const service = await serve("behind NAT");
  try {
    expect(host.firstAdministratorLink.startsWith(`${proxy.url}/`)).toBe(true);
    const arrived = alice.page.waitForResponse(`${proxy.url}/`);
    await alice.accept(host.firstAdministratorLink);
    expect((await arrived).headers()["strict-transport-security"]).toMatch(/^max-age=\d{7,}$/);
    const cookies = await context.cookies();
    expect(cookies.map(({ name, secure, httpOnly, sameSite }) => ({ name, secure, httpOnly, sameSite }))).toEqual([
      { name: "__Host-adit", secure: true, httpOnly: true, sameSite: "Strict" },
    ]);

    await alice.saveKey();
    await alice.forward(18080, service.port);
    // The greeting comes before the row: what is measured here is that events pass the proxy as they happen.
    await expect(alice.page.getByTestId("tunnel-18080")).toBeVisible({ timeout: 1_000 });
    await expect(alice.page.getByTestId("connection-lost")).toHaveCount(0);

    await alice.page.goto(`${proxy.url}/#/account`);
    await alice.page.getByRole("button", { name: "Sign out" }).click();
    await alice.signIn("not the password");
    await expect(alice.page.getByRole("alert")).toBeVisible();
    await alice.signIn(PASSWORD);
    await expect(alice.page.getByRole("button", { name: "Sign out" })).toBeVisible();
    const events: { kind: string; source: string | null }[] = await host.admin("audit");
    const refused = events.find(({ kind }) => kind === "sign-in-refused");
    expect(refused?.source).toBe(VISITOR);
  } finally {
    service.stop();
    await alice.machine.stop();
    await context.close();
    await host.stop();
    proxy.stop();
  }
});
