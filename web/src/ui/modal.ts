/** A modal <dialog>, open for as long as it is in the page. The page's state decides that; the browser is only asked to show it. */

import { tick } from 'svelte';
import type { Attachment } from 'svelte/attachments';

/** The way back from a dialog that closes just now: another that opens in its place goes back by it in the end. */
let closing: HTMLElement[] = [];

/** `left` is told once, when the person leaves the dialog in one of the browser's ways (Esc, a phone's way back). */
export function modal(left: () => void): Attachment<HTMLDialogElement> {
  return (dialog) => {
    const focused = document.activeElement;
    const wayBack = focused instanceof HTMLElement && focused !== document.body ? [focused, ...closing] : closing;
    let gone = false;
    const leave = () => {
      if (gone) return;
      gone = true;
      left();
    };
    // Not only at `close`, which comes with the next frame: whoever opened the same dialog again before that would see it closed
    // by the event of the last time.
    dialog.addEventListener('cancel', (event) => {
      if (event.target !== dialog) return;
      dialog.close();
      leave();
    });
    dialog.addEventListener('close', leave);
    dialog.showModal();
    return () => {
      gone = true;
      dialog.close();
      closing = wayBack;
      // A dialog that is already out of the page gives no focus back, and what opened it may be what it removed: a keyboard must
      // not be left nowhere.
      void tick().then(() => {
        closing = [];
        if (document.activeElement !== document.body) return;
        const opener = wayBack.find((element) => element.isConnected);
        (opener ?? document.querySelector<HTMLElement>('main h1'))?.focus();
      });
    };
  };
}
