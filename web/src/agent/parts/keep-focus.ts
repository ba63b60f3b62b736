/** Keeps a keyboard where it was when what had the focus leaves a list: at the neighbour, or at the page's heading. */

const CAN_FOCUS = 'a[href], button:not(:disabled), input, select';

/** For the element whose children come and go. */
export function keepFocus(list: HTMLElement): () => void {
  /** Which child has the focus; -1 while none has. */
  let index = -1;

  const remember = ({ target }: FocusEvent) => {
    index = [...list.children].findIndex((child) => child.contains(target as Node));
  };
  const left = ({ relatedTarget }: FocusEvent) => {
    // Nothing else has it when what had it is taken away.
    if (relatedTarget !== null && !list.contains(relatedTarget as Node)) index = -1;
  };
  const keep = () => {
    if (index < 0 || document.activeElement !== document.body) return;
    const neighbour = list.children[Math.min(index, list.children.length - 1)];
    const next = neighbour?.querySelector<HTMLElement>(CAN_FOCUS) ?? document.querySelector<HTMLElement>('main h1');
    next?.focus();
  };

  const observer = new MutationObserver(keep);
  observer.observe(list, { childList: true });
  list.addEventListener('focusin', remember);
  list.addEventListener('focusout', left);
  return () => {
    observer.disconnect();
    if (index >= 0 && document.activeElement === document.body) document.querySelector<HTMLElement>('main h1')?.focus();
  };
}
