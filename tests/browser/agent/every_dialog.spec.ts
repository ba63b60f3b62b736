// Every dialog of the agent's pages: with nothing but a keyboard it opens, keeps the focus, closes with Esc and gives the focus back to
// what opened it; and axe judges it as it judges pages.

import type { Locator, Page } from "@playwright/test";

import { judge } from "../judge.ts";
import { dialogsWithoutCase, keepsTheFocus } from "../window.ts";
import { freePort } from "./harness.ts";
import { settle } from "./settled.ts";
import { expect, test } from "./story.ts";

interface Case {
  /** The file in web/src that says what is in the dialog. */
  of: string;
  name: string;
  at: string;
  /** The button that leads to it, and has the focus again in the end. */
  opener: (page: Page) => Locator;
  title: string | RegExp;
}

const button = (name: string | RegExp) => (page: Page) => page.getByRole("button", { name, exact: true }).first();
const LIST = "/settings/ssh-tunnels";

const CASES: Case[] = [
  { of: "agent/tunnels/RemoveTunnel.svelte", name: "remove-tunnel", at: LIST, opener: button("Delete Switch UI"), title: "Remove Switch UI?" },
  { of: "agent/tunnels/TestDialog.svelte", name: "test", at: LIST, opener: button("Test Switch UI"), title: "Test of Switch UI" },
  { of: "agent/tunnels/TestDialog.svelte", name: "test-failed", at: LIST, opener: button("Test Broken"), title: "Test of Broken" },
  { of: "agent/tunnels/RemoveTunnel.svelte", name: "remove-this-tunnel", at: "TUNNEL", opener: button("Delete"), title: "Remove Switch UI?" },
  { of: "agent/records/ProfileForm.svelte", name: "new-profile", at: "/settings/profiles", opener: button("New profile"), title: "New credential profile" },
  { of: "agent/records/ProfileForm.svelte", name: "edit-profile", at: "/settings/profiles", opener: button("Edit router"), title: "Profile router" },
  { of: "agent/records/ProfileForm.svelte", name: "profile-within-the-form", at: `${LIST}/new`, opener: button("New profile"), title: "New credential profile" },
  { of: "agent/parts/RemoveRecord.svelte", name: "remove-profile", at: "/settings/profiles", opener: button("Delete router"), title: "Remove router?" },
  { of: "agent/parts/RemoveRecord.svelte", name: "needed-profile", at: "/settings/profiles", opener: button("Delete me at work"), title: "me at work is needed" },
  { of: "agent/records/JumpHostForm.svelte", name: "new-jump-host", at: "/settings/jump-hosts", opener: button("New jump host"), title: "New jump host" },
  { of: "agent/records/SessionForm.svelte", name: "new-session", at: "/settings/sessions", opener: button("New session"), title: "New session" },
  { of: "agent/records/SessionForm.svelte", name: "edit-session", at: "/settings/sessions", opener: button("Edit lab router"), title: "Session lab router" },
  { of: "agent/settings/TokenCard.svelte", name: "replace-token", at: "/settings/general", opener: button("Replace the token"), title: "Replace the token?" },
  { of: "agent/settings/SecretsCard.svelte", name: "move-key", at: "/settings/general", opener: button("Choose what opens them"), title: "What opens the secrets" },
  { of: "agent/Shortcuts.svelte", name: "shortcuts", at: LIST, opener: button("Keyboard shortcuts"), title: "Keyboard" },
];

/** Told in a story of its own, because a host key has to wait for it. */
const HOST_KEYS = "agent/HostKeys.svelte";

test("every dialog has its case here", async () => {
  expect(await dialogsWithoutCase(["agent"], [HOST_KEYS, ...CASES.map(({ of }) => of)])).toEqual([]);
});

async function holds(page: Page, { name, opener, title }: Omit<Case, "of" | "at">): Promise<void> {
  await opener(page).focus();
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: title, exact: true });
  await expect(dialog).toBeVisible();
  await expect(dialog.locator(":focus"), `${name} takes the focus`).toHaveCount(1);
  // Stages come in by themselves; what is judged is what stays.
  if (name.startsWith("test")) await expect(dialog.getByRole("button", { name: "Test again" })).toBeVisible();
  await keepsTheFocus(page, dialog, name);
  await judge(page, `agent-dialog-${name}`);
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog"), `${name} closes`).toHaveCount(0);
  await expect.soft(opener(page), `${name} gives the focus back`).toBeFocused();
}

test("the dialogs", async ({ agent, sshd, desk }) => {
  test.setTimeout(240_000);
  const { page } = desk;
  const { ids, service } = await settle({ agent, sshd, desk });
  for (const { at, ...tested } of CASES) {
    await test.step(tested.name, async () => {
      const path = at === "TUNNEL" ? `${LIST}/${ids.web}` : at;
      // Loaded anew: a page that is come to from another takes the focus to its heading.
      await page.goto("about:blank");
      await page.goto(`${agent.url}/#${path}`);
      await expect(tested.opener(page)).toBeVisible();
      await holds(page, tested);
    });
  }
  service.stop();
});

test("the dialogs about host keys", async ({ agent, sshd, desk }) => {
  test.setTimeout(120_000);
  const { page } = desk;
  const id = await agent.addTunnel(sshd, await agent.addProfile(sshd), { name: "proxy", local_port: await freePort(), auto_reconnect: false });
  const look = button("Look");
  await agent.must("POST", `/tunnels/${id}/start`).catch(() => undefined);
  await expect(look(page)).toBeVisible();
  await holds(page, { name: "unknown-host-key", opener: look, title: `Is this [127.0.0.1]:${sshd.port}?` });
  await agent.must("POST", "/hosts/trust", { host: `[127.0.0.1]:${sshd.port}`, fingerprint: await sshd.fingerprint() });
  await expect(look(page)).toBeHidden();
  await sshd.changeHostKey();
  await agent.must("POST", `/tunnels/${id}/start`).catch(() => undefined);
  await expect(look(page)).toBeVisible();
  await holds(page, { name: "changed-host-key", opener: look, title: `The key of [127.0.0.1]:${sshd.port} has changed` });
});
