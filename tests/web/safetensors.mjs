// Arrays out of a safetensors file: eight bytes of header length, a JSON header, the data (little-endian, C order).

// bool has no typed array of its own: one byte each, as the runtime wants it.
const KINDS = {
  BOOL: ["bool", Uint8Array],
  I8: ["int8", Int8Array],
  U8: ["uint8", Uint8Array],
  I16: ["int16", Int16Array],
  U16: ["uint16", Uint16Array],
  F16: ["float16", Uint16Array],
  I32: ["int32", Int32Array],
  U32: ["uint32", Uint32Array],
  F32: ["float32", Float32Array],
  I64: ["int64", BigInt64Array],
  U64: ["uint64", BigUint64Array],
  F64: ["float64", Float64Array],
};

/** The typed array class that holds elements of ``dtype``, as a step's description names it. */
export function arrayClass(dtype) {
  const found = Object.values(KINDS).find(([name]) => name === dtype);
  if (!found) throw new Error(`${dtype} is not an element type`);
  return found[1];
}

/** Map of name to {dtype, shape, data}; the data are copies, so that they are aligned. Throws where the bytes do not fit. */
export function parseArrays(bytes) {
  const size = Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, 8 + size)));
  delete header.__metadata__;
  const body = bytes.byteOffset + 8 + size;
  const arrays = new Map();
  for (const [name, { dtype, shape, data_offsets: [start, end] }] of Object.entries(header)) {
    const [kind, Kind] = KINDS[dtype];
    const data = new Kind(bytes.buffer.slice(body + start, body + end)); // of the ArrayBuffer: a Buffer's own slice is a view
    if (data.length !== shape.reduce((count, side) => count * side, 1)) {
      throw new Error(`${name} has ${data.length} elements, not those of its shape ${shape}`);
    }
    arrays.set(name, { dtype: kind, shape, data });
  }
  return arrays;
}
