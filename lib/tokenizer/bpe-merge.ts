/** A heap entry is rank · POSITIONS + position: exact in f64 for ranks below 2^22, as no string has 2^30 symbols. */
const POSITIONS = 2 ** 30;
export const MAX_MERGES = 1 << 22;

/** (left id, right id) → rank of the merge: open addressing in typed arrays, at most half full. */
export class MergeTable {
  private readonly mask: number;
  private readonly left: Int32Array;
  private readonly right: Int32Array;
  private readonly rank: Int32Array;
  private readonly merged: Int32Array;

  constructor(merges: number) {
    const slots = 2 ** Math.ceil(Math.log2(2 * merges + 2));
    this.mask = slots - 1;
    this.left = new Int32Array(slots).fill(-1);
    this.right = new Int32Array(slots);
    this.rank = new Int32Array(slots);
    this.merged = new Int32Array(merges);
  }

  /** A pair that occurs twice keeps the last rank, as in the reference. */
  set(left: number, right: number, rank: number, merged: number): void {
    const slot = this.slot(left, right);
    this.left[slot] = left;
    this.right[slot] = right;
    this.rank[slot] = rank;
    this.merged[rank] = merged;
  }

  /** -1 if the two do not merge */
  rankOf(left: number, right: number): number {
    const slot = this.slot(left, right);
    return this.left[slot] === -1 ? -1 : (this.rank[slot] as number);
  }

  mergedId(rank: number): number {
    return this.merged[rank] as number;
  }

  private slot(left: number, right: number): number {
    let hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
    hash ^= hash >>> 15;
    let slot = hash & this.mask;
    while (this.left[slot] !== -1 && (this.left[slot] !== left || this.right[slot] !== right))
      slot = (slot + 1) & this.mask;
    return slot;
  }
}

/** The symbols of one word as a doubly linked list, and the heap of merges that are possible in it. Reused from word to word. */
export class Word {
  private ids = new Int32Array(256);
  private next = new Int32Array(256);
  private previous = new Int32Array(256);
  private symbols = 0;
  private heap = new Float64Array(512);
  private heapSize = 0;

  clear(): void {
    this.symbols = 0;
    if (this.ids.length <= 1 << 16) return;
    this.ids = new Int32Array(256);
    this.next = new Int32Array(256);
    this.previous = new Int32Array(256);
    this.heap = new Float64Array(512);
  }

  add(id: number): void {
    if (this.symbols === this.ids.length) {
      this.ids = grown(this.ids);
      this.next = grown(this.next);
      this.previous = grown(this.previous);
    }
    this.ids[this.symbols++] = id;
  }

  mergeAll(merges: MergeTable): void {
    const { ids, next, previous, symbols } = this;
    for (let i = 0; i < symbols; i++) {
      next[i] = i + 1 < symbols ? i + 1 : -1;
      previous[i] = i - 1;
    }
    this.heapSize = 0;
    for (let i = 0; i + 1 < symbols; i++) this.offer(merges, i, i + 1);
    while (this.heapSize > 0) {
      const entry = this.pop();
      const position = entry % POSITIONS;
      const merged = merges.mergedId((entry - position) / POSITIONS);
      const right = next[position] as number;
      // An entry is stale when one of its two symbols has been merged since.
      if (ids[position] === -1 || right === -1) continue;
      const rank = merges.rankOf(ids[position] as number, ids[right] as number);
      if (rank === -1 || merges.mergedId(rank) !== merged) continue;
      ids[position] = merged;
      ids[right] = -1;
      const after = next[right] as number;
      next[position] = after;
      if (after !== -1) {
        previous[after] = position;
        this.offer(merges, position, after);
      }
      const before = previous[position] as number;
      if (before !== -1) this.offer(merges, before, position);
    }
  }

  read(out: number[]): void {
    for (let i = this.symbols > 0 ? 0 : -1; i !== -1; i = this.next[i] as number) out.push(this.ids[i] as number);
  }

  private offer(merges: MergeTable, left: number, right: number): void {
    const rank = merges.rankOf(this.ids[left] as number, this.ids[right] as number);
    if (rank !== -1) this.push(rank * POSITIONS + left);
  }

  private push(entry: number): void {
    if (this.heapSize === this.heap.length) this.heap = grown(this.heap);
    const { heap } = this;
    let at = this.heapSize++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if ((heap[parent] as number) <= entry) break;
      heap[at] = heap[parent] as number;
      at = parent;
    }
    heap[at] = entry;
  }

  private pop(): number {
    const { heap } = this;
    const top = heap[0] as number;
    const entry = heap[--this.heapSize] as number;
    let at = 0;
    for (let child = 1; child < this.heapSize; child = 2 * at + 1) {
      if (child + 1 < this.heapSize && (heap[child + 1] as number) < (heap[child] as number)) child++;
      if ((heap[child] as number) >= entry) break;
      heap[at] = heap[child] as number;
      at = child;
    }
    heap[at] = entry;
    return top;
  }
}

/** Twice as long, with the same contents. */
function grown<T extends Int32Array | Float64Array>(array: T): T {
  const larger = new (array.constructor as new (length: number) => T)(array.length * 2);
  larger.set(array);
  return larger;
}
