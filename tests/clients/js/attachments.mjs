// Encrypted attachments as the specification has them (version v2: AES-256-CTR, SHA-256 over the ciphertext).

import { createHash, webcrypto } from "node:crypto";

const unpadded = (bytes) => Buffer.from(bytes).toString("base64").replace(/=+$/, "");

/** The ciphertext and the EncryptedFile that opens it, without its url. */
export async function encryptAttachment(plain) {
  const iv = new Uint8Array(16);
  webcrypto.getRandomValues(iv.subarray(0, 8)); // the lower half counts blocks
  const key = await webcrypto.subtle.generateKey({ name: "AES-CTR", length: 256 }, true, ["encrypt", "decrypt"]);
  const algorithm = { name: "AES-CTR", counter: iv, length: 64 };
  const ciphertext = Buffer.from(await webcrypto.subtle.encrypt(algorithm, key, plain));
  const jwk = await webcrypto.subtle.exportKey("jwk", key);
  return {
    ciphertext,
    file: {
      v: "v2",
      key: { alg: "A256CTR", ext: true, k: jwk.k, key_ops: ["encrypt", "decrypt"], kty: "oct" },
      iv: unpadded(iv),
      hashes: { sha256: unpadded(createHash("sha256").update(ciphertext).digest()) },
    },
  };
}

export async function decryptAttachment(ciphertext, file) {
  const digest = unpadded(createHash("sha256").update(ciphertext).digest());
  if (digest !== file.hashes.sha256.replace(/=+$/, "")) throw new Error("The attachment's hash does not match.");
  const key = await webcrypto.subtle.importKey("jwk", file.key, { name: "AES-CTR" }, false, ["decrypt"]);
  const algorithm = { name: "AES-CTR", counter: Buffer.from(file.iv, "base64"), length: 64 };
  return Buffer.from(await webcrypto.subtle.decrypt(algorithm, key, ciphertext));
}
