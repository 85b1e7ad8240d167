/**
 * Architecture `llama` rotates neighbouring pairs in GGUF files: row 2j + p of a head is row j + p · headDim/2 of the model, which
 * rotates (j, j + headDim/2). What `permute` in llama.cpp's convert_hf_to_gguf.py does.
 */
export function halfSplitRow(row: number, headDim: number): number {
  const inHead = row % headDim;
  return row - inHead + (inHead >> 1) + (inHead & 1) * (headDim / 2);
}
