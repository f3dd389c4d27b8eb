// matrix-js-sdk asks for Node 22 and uses these three of its additions; Node 20 lacks them. Import this first.

Promise.withResolvers ??= function withResolvers() {
  let resolve, reject;
  const promise = new this((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
};

Promise.try ??= function attempt(work, ...args) {
  return new this((resolve) => resolve(work(...args)));
};

Set.prototype.difference ??= function difference(other) {
  return new Set([...this].filter((member) => !other.has(member)));
};
