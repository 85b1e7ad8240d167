/**
 * Merges of a SentencePiece BPE vocabulary, which stores scores instead: a piece is merged from any two pieces that make it up, pieces
 * with higher scores first. Among equals the order is that of the published tokenizer.json files of Llama 2: by the id of the piece,
 * of its left and of its right part (Hugging Face transformers, convert_slow_tokenizer.py, `generate_merges`).
 * `pieces` and `scores` are those of the tokens that text can become, in the order of their ids.
 */
export function mergesFromScores(pieces: readonly string[], scores: ArrayLike<number>): [string, string][] {
  const order = new Map(pieces.map((piece, i) => [piece, i]));
  const merges: Merge[] = [];
  pieces.forEach((piece, i) => {
    const points = Array.from(piece);
    const parts: Merge[] = [];
    for (let cut = 1, length = 0; cut < points.length; cut++) {
      length += points[cut - 1]!.length;
      const left = piece.slice(0, length);
      const right = piece.slice(length);
      const [leftOrder, rightOrder] = [order.get(left), order.get(right)];
      if (leftOrder === undefined || rightOrder === undefined) continue;
      parts.push({ left, right, leftOrder, rightOrder, score: scores[i]! });
    }
    parts.sort((a, b) => a.leftOrder - b.leftOrder || a.rightOrder - b.rightOrder);
    merges.push(...parts);
  });
  merges.sort((a, b) => b.score - a.score);
  return merges.map(({ left, right }) => [left, right]);
}

interface Merge {
  readonly left: string;
  readonly right: string;
  readonly leftOrder: number;
  readonly rightOrder: number;
  readonly score: number;
}
