/**
 * Where agents stand on the map: around the one that shows it, farther out with each hop, then moved until linked ones are near and no two
 * labels lie on each other. The same mesh is always drawn in the same way: nothing here is random, and rounds are counted.
 */

export interface MapAgent {
  id: string;
  name: string;
}

export interface MapLink {
  a: string;
  b: string;
}

export interface Spot extends MapAgent {
  x: number;
  y: number;
  /** Links between it and the agent that shows the map; null where no way is known. */
  hops: number | null;
}

export interface MapLayout {
  width: number;
  height: number;
  /** The nearest first, then by name: also the order in which a keyboard goes through them. */
  spots: Spot[];
}

/** Room for an agent and its label: no two agents are nearer than this in both directions. */
export const ROOM = { width: 96, height: 44 };

/** Between linked agents, where nothing else pulls. */
const DISTANCE = 110;
const MARGIN = { x: 56, y: 32 };
const ROUNDS = 200;
/** Beyond so many agents there are fewer rounds: each costs the square of their number. */
const MANY = 150;
const FEWEST_ROUNDS = 20;
const ROUNDS_APART = 1_000;
/** A mesh that needs no more than this is drawn as it comes; a larger one is drawn closer, until labels have little more than their room. */
const ENOUGH = { width: 900, height: 420 };
const SPARE = 1.4;
/** Width to height of what is drawn closer. */
const SHAPE = 1.5;

/** The room that a letter of a label takes, in letters of Latin: those of East Asia are twice as wide (UAX #11). */
const letterWidth = (letter: string) => ((letter.codePointAt(0) ?? 0) >= 0x1100 ? 2 : 1);

/** A name that fits below its agent; of a long one the beginning and the end, since names of many are told apart by either. */
export function shorten(name: string, room = 12): string {
  const letters = [...name];
  const width = (some: string[]) => some.reduce((sum, letter) => sum + letterWidth(letter), 0);
  if (width(letters) <= room) return name;
  const [start, end] = [[] as string[], [] as string[]];
  for (;;) {
    const [side, next] = start.length <= end.length ? [start, letters.shift()] : [end, letters.pop()];
    if (next === undefined || width(start) + width(end) + letterWidth(next) > room - 1) break;
    if (side === start) start.push(next);
    else end.unshift(next);
  }
  return `${start.join('')}…${end.join('')}`;
}

/** A link has one name, whichever end is asked. */
export function linkName(a: string, b: string): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}

interface Point {
  x: number;
  y: number;
}

export function layOut(agents: readonly MapAgent[], links: readonly MapLink[], from: string): MapLayout {
  const sorted = [...agents].sort((a, b) => compare(a.name, b.name) || compare(a.id, b.id));
  const index = new Map(sorted.map(({ id }, at) => [id, at]));
  const edges = links.flatMap(({ a, b }) => {
    const [from, to] = [index.get(a), index.get(b)];
    return from === undefined || to === undefined || from === to ? [] : [[from, to] as const];
  });
  const { hops, points } = around(sorted.length, edges, index.get(from) ?? 0);
  relax(points, edges);
  drawCloser(points);
  moveApart(points);
  const spots = sorted.map((agent, at) => ({ ...agent, hops: hops[at] ?? null, ...(points[at] as Point) }));
  spots.sort((a, b) => (a.hops ?? Infinity) - (b.hops ?? Infinity) || 0);
  return crop(spots);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

type Edges = readonly (readonly [number, number])[];

/** Circles around the middle: each agent has a part of its circle as wide as the agents behind it need. */
function around(count: number, edges: Edges, middle: number): { hops: (number | null)[]; points: Point[] } {
  const neighbours: number[][] = Array.from({ length: count }, () => []);
  for (const [a, b] of edges) {
    neighbours[a]?.push(b);
    neighbours[b]?.push(a);
  }
  for (const some of neighbours) some.sort((a, b) => a - b);
  const hops: (number | null)[] = Array(count).fill(null);
  const behind: number[][] = Array.from({ length: count }, () => []);
  const order: number[] = [];
  const reach = (at: number, distance: number) => {
    hops[at] = distance;
    order.push(at);
  };
  if (count > 0) reach(middle, 0);
  for (let next = 0; next < order.length; next += 1) {
    const at = order[next] as number;
    for (const other of neighbours[at] ?? []) {
      if (hops[other] !== null) continue;
      behind[at]?.push(other);
      reach(other, (hops[at] ?? 0) + 1);
    }
  }
  const farthest = hops.reduce<number>((most, distance) => Math.max(most, distance ?? 0), 0);
  // Those without a way stand outside of all others.
  const stray = hops.flatMap((distance, at) => (distance === null ? [at] : []));
  behind[middle]?.push(...stray);

  const leaves: number[] = Array(count).fill(1);
  for (const at of order.toReversed()) {
    const sum = (behind[at] ?? []).reduce((sum, other) => sum + (leaves[other] ?? 1), 0);
    leaves[at] = Math.max(1, sum);
  }
  const points: Point[] = Array.from({ length: count }, () => ({ x: 0, y: 0 }));
  const place = (at: number, begin: number, width: number) => {
    const children = behind[at] ?? [];
    const share = width / (leaves[at] ?? 1);
    // The first one of the middle goes to the right, so that a chain lies flat.
    let angle = at === middle ? (-share * (leaves[children[0] ?? 0] ?? 1)) / 2 : begin;
    for (const child of children) {
      const part = share * (leaves[child] ?? 1);
      const radius = (hops[child] ?? farthest + 1) * DISTANCE;
      points[child] = { x: radius * Math.cos(angle + part / 2), y: radius * Math.sin(angle + part / 2) };
      place(child, angle, part);
      angle += part;
    }
  };
  if (count > 0) place(middle, 0, 2 * Math.PI);
  return { hops, points };
}

/** Linked agents pull each other, all push each other (Fruchterman and Reingold 1991), and each round moves them less far. */
function relax(points: Point[], edges: Edges): void {
  const rounds = Math.max(FEWEST_ROUNDS, Math.floor(ROUNDS * Math.min(1, (MANY / points.length) ** 2)));
  for (let round = 0; round < rounds; round += 1) {
    // All are drawn to the middle a little: pieces without a link between them stay in sight.
    const moves: Point[] = points.map(({ x, y }) => ({ x: -0.05 * x, y: -0.08 * y }));
    const push = (a: number, b: number, by: (squared: number) => number) => {
      const [one, other, moved, back] = [points[a] as Point, points[b] as Point, moves[a] as Point, moves[b] as Point];
      const [dx, dy] = [one.x - other.x, one.y - other.y];
      const factor = by(Math.max(1, dx * dx + dy * dy));
      moved.x += dx * factor;
      moved.y += dy * factor;
      back.x -= dx * factor;
      back.y -= dy * factor;
    };
    const apart = (squared: number) => DISTANCE ** 2 / squared;
    const together = (squared: number) => -Math.sqrt(squared) / DISTANCE;
    for (let a = 0; a < points.length; a += 1) {
      for (let b = a + 1; b < points.length; b += 1) push(a, b, apart);
    }
    for (const [a, b] of edges) push(a, b, together);
    const most = DISTANCE * 0.5 * (1 - round / rounds);
    for (const [at, point] of points.entries()) {
      const { x, y } = moves[at] as Point;
      const scale = Math.min(1, most / Math.max(1e-9, Math.hypot(x, y)));
      point.x += x * scale;
      point.y += y * scale;
    }
  }
}

/** The smallest and the largest of some numbers; `Math.min(...values)` has room for so many arguments only. */
function extent(values: readonly number[]): { from: number; to: number } {
  const from = values.reduce((a, b) => Math.min(a, b), Infinity);
  const to = values.reduce((a, b) => Math.max(a, b), -Infinity);
  return { from, to };
}

function drawCloser(points: Point[]): void {
  const area = points.length * ROOM.width * ROOM.height * SPARE;
  const [xs, ys] = [extent(points.map(({ x }) => x)), extent(points.map(({ y }) => y))];
  const scale = ({ from, to }: { from: number; to: number }, room: number) => Math.min(1, room / Math.max(1, to - from));
  const scaleX = scale(xs, Math.max(ENOUGH.width, Math.sqrt(area * SHAPE)));
  const scaleY = scale(ys, Math.max(ENOUGH.height, Math.sqrt(area / SHAPE)));
  for (const point of points) {
    point.x *= scaleX;
    point.y *= scaleY;
  }
}

/** Moves two agents apart whose labels lie on each other, in the direction that is shorter, until none do or the rounds are over. */
function moveApart(points: Point[]): void {
  for (let round = 0; round < ROUNDS_APART; round += 1) {
    let moved = false;
    // From left to right: who is near stands near.
    const sorted = points.toSorted((a, b) => a.x - b.x);
    for (const [at, one] of sorted.entries()) {
      for (let next = at + 1; next < sorted.length; next += 1) {
        const other = sorted[next] as Point;
        const [dx, dy] = [other.x - one.x, other.y - one.y];
        const [lacksX, lacksY] = [ROOM.width - Math.abs(dx), ROOM.height - Math.abs(dy)];
        // What this round has moved already stands a little elsewhere than the order says; the next round sees it.
        if (dx >= ROOM.width) break;
        if (lacksX <= 0 || lacksY <= 0) continue;
        moved = true;
        // A little more than what lacks, so that rounding leaves nothing to do.
        if (lacksX < lacksY) {
          const by = (Math.sign(dx) || 1) * (lacksX / 2 + 0.5);
          one.x -= by;
          other.x += by;
        } else {
          const by = (Math.sign(dy) || 1) * (lacksY / 2 + 0.5);
          one.y -= by;
          other.y += by;
        }
      }
    }
    if (!moved) return;
  }
}

/** Whole numbers from the upper left corner on. */
function crop(spots: Spot[]): MapLayout {
  if (spots.length === 0) return { width: 0, height: 0, spots };
  const [xs, ys] = [extent(spots.map(({ x }) => x)), extent(spots.map(({ y }) => y))];
  return {
    width: Math.round(xs.to - xs.from) + 2 * MARGIN.x,
    height: Math.round(ys.to - ys.from) + 2 * MARGIN.y,
    spots: spots.map((spot) => ({ ...spot, x: Math.round(spot.x - xs.from) + MARGIN.x, y: Math.round(spot.y - ys.from) + MARGIN.y })),
  };
}
