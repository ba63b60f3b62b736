import { expect, test } from 'vitest';
import { layOut, linkName, type MapLink, ROOM, shorten } from './map';

const agents = (count: number) => Array.from({ length: count }, (_, at) => ({ id: `id${at}`, name: `agent-${String(at).padStart(3, '0')}` }));
const links = (...pairs: [number, number][]): MapLink[] => pairs.map(([a, b]) => ({ a: `id${a}`, b: `id${b}` }));

/** Each agent is linked with an earlier one, and some with a second: a mesh as it grows, drawn by a generator that is always the same. */
function grown(count: number): MapLink[] {
  let seed = 7;
  const below = (limit: number) => {
    seed = (seed * 16_807) % 2_147_483_647;
    return seed % limit;
  };
  return Array.from({ length: count - 1 }, (_, at) => at + 1).flatMap((at) => {
    const [first, second] = [below(at), below(at)];
    return first === second ? links([at, first]) : links([at, first], [at, second]);
  });
}

/** Pairs of agents whose labels lie on each other. */
function overlaps({ spots }: { spots: { id: string; x: number; y: number }[] }): string[] {
  return spots.flatMap((one, at) =>
    spots
      .slice(at + 1)
      .filter(({ x, y }) => Math.abs(x - one.x) < ROOM.width - 1 && Math.abs(y - one.y) < ROOM.height - 1)
      .map(({ id }) => `${one.id} ${id}`),
  );
}

test('a chain lies flat, in its order, around the agent that shows it', () => {
  const { spots, width, height } = layOut(agents(4), links([0, 1], [1, 2], [2, 3]), 'id1');
  const byX = spots.toSorted((a, b) => a.x - b.x).map(({ id }) => id);
  expect([byX, byX.toReversed()]).toContainEqual(['id0', 'id1', 'id2', 'id3']);
  expect(new Set(spots.map(({ y }) => y)).size).toBe(1);
  expect(height).toBeLessThan(100);
  expect(width).toBeLessThan(600);
  expect(spots.map(({ id, hops }) => [id, hops])).toEqual([['id1', 0], ['id0', 1], ['id2', 1], ['id3', 2]]);
});

test('no two labels lie on each other, whatever the mesh looks like', () => {
  const star = Array.from({ length: 99 }, (_, at) => [0, at + 1] as [number, number]);
  const all = Array.from({ length: 20 }, (_, a) => Array.from({ length: a }, (_, b) => [a, b] as [number, number])).flat();
  const meshes: Record<string, [number, MapLink[]]> = {
    three: [3, links([0, 1], [0, 2], [1, 2])],
    grown: [100, grown(100)],
    'three hundred': [300, grown(300)],
    star: [100, links(...star)],
    'everyone with everyone': [20, links(...all)],
    'no links': [12, []],
  };
  for (const [name, [count, of]] of Object.entries(meshes)) {
    const layout = layOut(agents(count), of, 'id0');
    expect(layout.spots, name).toHaveLength(count);
    expect(overlaps(layout), name).toEqual([]);
    for (const { x, y } of layout.spots) {
      expect(x >= 0 && x <= layout.width && y >= 0 && y <= layout.height, name).toBe(true);
    }
  }
});

test('a hundred agents fit a screen', () => {
  const { width, height } = layOut(agents(100), grown(100), 'id0');
  expect(width).toBeLessThan(1_150);
  expect(height).toBeLessThan(950);
});

test('linked agents are nearer than others', () => {
  const of = grown(60);
  const { spots } = layOut(agents(60), of, 'id0');
  const at = new Map(spots.map((spot) => [spot.id, spot]));
  const linked = new Set(of.map(({ a, b }) => linkName(a, b)));
  const distances = { linked: [] as number[], other: [] as number[] };
  for (const one of spots) {
    for (const other of spots) {
      if (one.id >= other.id) continue;
      const of = linked.has(linkName(one.id, other.id)) ? distances.linked : distances.other;
      of.push(Math.hypot(one.x - other.x, one.y - other.y));
    }
  }
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  expect(mean(distances.linked)).toBeLessThan(mean(distances.other) * 0.6);
  expect(at.size).toBe(60);
});

test('the same mesh is drawn in the same way, in whatever order it is told', () => {
  const of = grown(30);
  const turned = of.toReversed().map(({ a, b }) => ({ a: b, b: a }));
  expect(layOut(agents(30).toReversed(), turned, 'id3')).toEqual(layOut(agents(30), of, 'id3'));
});

test('agents without a way, links of strangers and an empty mesh are drawn too', () => {
  const { spots } = layOut(agents(3), [...links([0, 1], [1, 1]), { a: 'id0', b: 'stranger' }], 'id0');
  expect(spots.map(({ id, hops }) => [id, hops])).toEqual([['id0', 0], ['id1', 1], ['id2', null]]);
  expect(layOut([], [], 'id0')).toEqual({ width: 0, height: 0, spots: [] });
});

test('a long name keeps its beginning and its end', () => {
  expect(shorten('branch')).toBe('branch');
  expect(shorten('branch-office-1')).toBe('branch…ice-1');
  expect(shorten('支店の東京オフィス一号')).toBe('支店の…一号');
  expect([...shorten('x'.repeat(64))]).toHaveLength(12);
});
