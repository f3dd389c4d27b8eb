// One logged-in device of matrix-js-sdk with its Rust cryptography, and what a person does with it.

import * as sdk from "matrix-js-sdk";
import { decodeRecoveryKey, VerificationPhase, VerificationRequestEvent, VerifierEvent } from "matrix-js-sdk/lib/crypto-api/index.js";
import { CryptoEvent } from "matrix-js-sdk/lib/crypto-api/CryptoEvent.js";

import { decryptAttachment, encryptAttachment } from "./attachments.mjs";
import { recordingFetch } from "./traffic.mjs";

const bytesOf = (base64) => Buffer.from(base64, "base64");

function describe(event) {
  return {
    event_id: event.getId(),
    type: event.getType(),
    sender: event.getSender(),
    state_key: event.getStateKey() ?? null,
    content: event.getContent(),
    encrypted: event.isEncrypted(),
    undecryptable: event.isDecryptionFailure() ? event.decryptionFailureReason : null,
    redacted: event.isRedacted(),
    edited: event.replacingEventId() ?? null,
    thread: event.threadRootId ?? null,
    status: event.status,
  };
}

export class Device {
  constructor(name, { baseUrl }, tell) {
    this.name = name;
    this.baseUrl = baseUrl;
    this.fetch = recordingFetch(name, tell);
    this.secretStorageKeys = new Map();
    this.verifications = new Map();
    this.client = sdk.createClient({ baseUrl, fetchFn: this.fetch });
  }

  // accounts

  /** Registers through interactive authentication, stage by stage, as the server's flows demand. */
  async register({ username, password, token }) {
    const stages = [];
    const auth = new sdk.InteractiveAuth({
      matrixClient: this.client,
      doRequest: (dict) => {
        if (dict?.type) stages.push(dict.type);
        return this.client.registerRequest({ username, password, auth: dict ?? undefined, inhibit_login: true });
      },
      stateUpdated: (stage, { error, errcode }) => {
        if (error || errcode) throw new Error(`${stage}: ${errcode} ${error}`);
        if (stage === "m.login.dummy") auth.submitAuthDict({ type: stage });
        else if (stage === "m.login.registration_token") auth.submitAuthDict({ type: stage, token });
        else throw new Error(`No way through the stage ${stage} is known.`);
      },
      requestEmailToken: async () => {
        throw new Error("No email address is at hand.");
      },
    });
    const { user_id } = await auth.attemptAuth();
    return { user_id, stages };
  }

  async flows() {
    return (await this.client.loginFlows()).flows.map((flow) => flow.type);
  }

  async login({ username, password, deviceName }) {
    const answer = await this.client.loginRequest({
      type: "m.login.password",
      identifier: { type: "m.id.user", user: username },
      password,
      initial_device_display_name: deviceName,
    });
    this.password = password;
    this.client = sdk.createClient({
      baseUrl: this.baseUrl,
      userId: answer.user_id,
      deviceId: answer.device_id,
      accessToken: answer.access_token,
      fetchFn: this.fetch,
      timelineSupport: true,
      cryptoCallbacks: {
        getSecretStorageKey: async ({ keys }) => {
          for (const id of Object.keys(keys)) if (this.secretStorageKeys.has(id)) return [id, this.secretStorageKeys.get(id)];
          if (this.recoveryKey) return [Object.keys(keys)[0], decodeRecoveryKey(this.recoveryKey)];
          return null;
        },
        cacheSecretStorageKey: (id, _info, key) => this.secretStorageKeys.set(id, key),
      },
    });
    return answer;
  }

  async start({ initialSyncLimit = 30 } = {}) {
    await this.client.initRustCrypto({ useIndexedDB: false });
    this.client.on(CryptoEvent.VerificationRequestReceived, (request) => this.#keep(request));
    const prepared = new Promise((resolve, reject) => {
      const listen = (state, _before, data) => {
        if (state === "ERROR" && data?.error?.httpStatus) reject(data.error);
        if (state !== "PREPARED" && state !== "SYNCING") return;
        this.client.off("sync", listen);
        resolve();
      };
      this.client.on("sync", listen);
    });
    await this.client.startClient({
      initialSyncLimit,
      threadSupport: true,
      lazyLoadMembers: true,
      pollTimeout: 10000,
      pendingEventOrdering: sdk.PendingEventOrdering.Detached,
    });
    await prepared;
  }

  async stop() {
    this.client.stopClient();
  }

  async logout() {
    await this.client.logout(true);
  }

  /** To be called when the server is known to be back: does not wait for the SDK's own next attempt. */
  async retry() {
    return this.client.retryImmediately();
  }

  async syncState() {
    return this.client.getSyncState();
  }

  async whoami() {
    return this.client.whoami();
  }

  async versions() {
    return this.client.getVersions();
  }

  async capabilities() {
    return this.client.fetchCapabilities();
  }

  async setDisplayName({ name }) {
    await this.client.setDisplayName(name);
  }

  async profile({ userId }) {
    return this.client.getProfileInfo(userId);
  }

  async devices() {
    return (await this.client.getDevices()).devices;
  }

  async setAccountData({ type, content }) {
    await this.client.setAccountData(type, content);
  }

  async accountData({ type }) {
    return this.client.getAccountData(type)?.getContent() ?? null;
  }

  // rooms

  async createRoom({ name, topic, encrypted, invite = [], preset = "private_chat" }) {
    const initial_state = encrypted
      ? [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }]
      : [];
    return (await this.client.createRoom({ name, topic, preset, invite, initial_state })).room_id;
  }

  async invite({ roomId, userId }) {
    await this.client.invite(roomId, userId);
  }

  async join({ roomId }) {
    return (await this.client.joinRoom(roomId)).roomId;
  }

  async leave({ roomId }) {
    await this.client.leave(roomId);
  }

  async forget({ roomId }) {
    await this.client.forget(roomId);
  }

  /** What the device knows of a room, from its syncs alone; null when it knows nothing of it. */
  async room({ roomId }) {
    const room = this.client.getRoom(roomId);
    if (!room) return null;
    return {
      name: room.name,
      version: room.getVersion(),
      create: room.currentState.getStateEvents("m.room.create", "")?.getContent() ?? null,
      encrypted: room.hasEncryptionStateEvent(),
      membership: room.getMyMembership(),
      members: Object.fromEntries(room.getMembers().map((member) => [member.userId, member.membership])),
      typing: room.getMembers().filter((member) => member.typing).map((member) => member.userId),
      unread: room.getRoomUnreadNotificationCount("total"),
      highlights: room.getRoomUnreadNotificationCount("highlight"),
      threads: Object.fromEntries(
        room.getThreads().map((thread) => [
          thread.id,
          { length: thread.length, unread: room.getThreadUnreadNotificationCount(thread.id, "total") },
        ]),
      ),
    };
  }

  async displayNames({ roomId }) {
    const members = this.client.getRoom(roomId).getMembers();
    return Object.fromEntries(members.map((member) => [member.userId, member.rawDisplayName]));
  }

  async state({ roomId, type, stateKey = "" }) {
    return this.client.getStateEvent(roomId, type, stateKey);
  }

  async setState({ roomId, type, content, stateKey = "" }) {
    return (await this.client.sendStateEvent(roomId, type, content, stateKey)).event_id;
  }

  /** The room's timeline and its threads' events as the device shows them, oldest first. */
  async timeline({ roomId }) {
    const room = this.client.getRoom(roomId);
    if (!room) return [];
    const known = new Map(room.getLiveTimeline().getEvents().map((event) => [event.getId(), event]));
    for (const thread of room.getThreads()) for (const event of thread.events) known.set(event.getId(), event);
    return [...known.values()].sort((one, other) => one.getTs() - other.getTs()).map(describe);
  }

  async event({ roomId, eventId }) {
    const room = this.client.getRoom(roomId);
    const event = room?.findEventById(eventId);
    if (!event || event.isBeingDecrypted()) return null;
    const reactions = room.relations.getChildEventsForEvent(eventId, "m.annotation", "m.reaction");
    const thread = room.getThread(eventId);
    return {
      ...describe(event),
      reactions: Object.fromEntries(
        (reactions?.getSortedAnnotationsByKey() ?? []).map(([key, events]) => [
          key,
          [...events].map((reaction) => reaction.getSender()).sort(),
        ]),
      ),
      replies: thread ? thread.events.filter((reply) => reply.getId() !== eventId).map((reply) => reply.getId()) : [],
      receipts: room.getReceiptsForEvent(event).map(({ type, userId }) => ({ type, userId })),
    };
  }

  /** The event a user has read up to (by receipts that reached this device), in the main timeline or a thread. */
  async readUpTo({ roomId, userId, threadId }) {
    const room = this.client.getRoom(roomId);
    const readable = threadId ? room?.getThread(threadId) : room;
    return readable?.getEventReadUpTo(userId, true) ?? null;
  }

  async paginate({ roomId, limit = 100 }) {
    const room = await this.client.scrollback(this.client.getRoom(roomId), limit);
    return room.getLiveTimeline().getEvents().length;
  }

  // messages

  async sendText({ roomId, body, threadId = null, transactionId }) {
    return (await this.client.sendMessage(roomId, threadId, { msgtype: "m.text", body }, transactionId)).event_id;
  }

  async sendContent({ roomId, content, type = "m.room.message", transactionId }) {
    return (await this.client.sendEvent(roomId, type, content, transactionId)).event_id;
  }

  /** Sends again, with the same transaction ids, what was not answered. */
  async resendUnsent({ roomId }) {
    const room = this.client.getRoom(roomId);
    const unsent = room.getPendingEvents().filter((event) => event.status === "not_sent");
    const sent = [];
    for (const event of unsent) sent.push((await this.client.resendEvent(event, room)).event_id);
    return sent;
  }

  async reply({ roomId, eventId, body }) {
    const content = { msgtype: "m.text", body, "m.relates_to": { "m.in_reply_to": { event_id: eventId } } };
    return (await this.client.sendMessage(roomId, content)).event_id;
  }

  async react({ roomId, eventId, key }) {
    const content = { "m.relates_to": { rel_type: "m.annotation", event_id: eventId, key } };
    return (await this.client.sendEvent(roomId, "m.reaction", content)).event_id;
  }

  async edit({ roomId, eventId, body }) {
    const content = {
      msgtype: "m.text",
      body: `* ${body}`,
      "m.new_content": { msgtype: "m.text", body },
      "m.relates_to": { rel_type: "m.replace", event_id: eventId },
    };
    return (await this.client.sendMessage(roomId, content)).event_id;
  }

  async redact({ roomId, eventId, reason }) {
    return (await this.client.redactEvent(roomId, eventId, undefined, { reason })).event_id;
  }

  async type({ roomId, typing, timeout = 20000 }) {
    await this.client.sendTyping(roomId, typing, timeout);
  }

  /** kind: m.read or m.read.private; unthreaded: for the whole room; otherwise the thread the event stands in. */
  async read({ roomId, eventId, kind = "m.read", unthreaded = false }) {
    // While js-sdk fetches a thread anew, its events are not to be found for a moment, and a receipt for an event that
    // is not found is silently left out.
    for (let tries = 0; tries < 100; tries++) {
      const event = this.client.getRoom(roomId).findEventById(eventId);
      if (event) return await this.client.sendReadReceipt(event, kind, unthreaded);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`${eventId} is not to be found in ${roomId}`);
  }

  async markRead({ roomId, eventId }) {
    await this.client.setRoomReadMarkers(roomId, eventId, this.client.getRoom(roomId).findEventById(eventId));
  }

  async relations({ roomId, eventId, relation, type }) {
    const found = await this.client.relations(roomId, eventId, relation, type ?? null);
    return found.events.map(describe);
  }

  async threads({ roomId }) {
    const found = await this.client.createThreadListMessagesRequest(roomId, null, 20);
    return found.chunk.map((event) => event.event_id);
  }

  // media

  async mediaLimit() {
    return (await this.client.getMediaConfig(true))["m.upload.size"];
  }

  async upload({ base64, name, type, encrypted = false }) {
    const plain = bytesOf(base64);
    const sealed = encrypted ? await encryptAttachment(plain) : { ciphertext: plain };
    const blob = new Blob([sealed.ciphertext], { type: encrypted ? "application/octet-stream" : type });
    const options = { name: encrypted ? undefined : name, type: blob.type, includeFilename: !encrypted };
    const { content_uri: url } = await this.client.uploadContent(blob, options);
    return encrypted ? { file: { ...sealed.file, url } } : { url };
  }

  async download({ url, file, width, height }) {
    const address = this.client.mxcUrlToHttp(file?.url ?? url, width, height, width && "scale", false, true, true);
    const response = await this.fetch(address, { headers: { Authorization: `Bearer ${this.client.getAccessToken()}` } });
    if (!response.ok) throw new Error(`Download answered ${response.status}.`);
    const body = Buffer.from(await response.arrayBuffer());
    const plain = file ? await decryptAttachment(body, file) : body;
    return { base64: plain.toString("base64"), type: response.headers.get("content-type") };
  }

  // encryption

  async identityKeys() {
    return this.client.getCrypto().getOwnDeviceKeys();
  }

  async devicesOf({ userId }) {
    const known = await this.client.getCrypto().getUserDeviceInfo([userId], true);
    return [...(known.get(userId)?.keys() ?? [])].sort();
  }

  async deviceStatus({ userId, deviceId }) {
    const status = await this.client.getCrypto().getDeviceVerificationStatus(userId, deviceId);
    if (!status) return null;
    return { signedByOwner: status.signedByOwner, crossSigned: status.crossSigningVerified, verified: status.isVerified() };
  }

  #authenticate = async (request) => {
    try {
      return await request(null);
    } catch (refusal) {
      if (refusal.httpStatus !== 401) throw refusal;
      const identifier = { type: "m.id.user", user: this.client.getUserId() };
      return request({ type: "m.login.password", identifier, password: this.password, session: refusal.data.session });
    }
  };

  /** Makes a cross-signing identity, secret storage with a new recovery key, and a key backup; gives the key. */
  async setUpRecovery() {
    const crypto = this.client.getCrypto();
    await crypto.bootstrapCrossSigning({ setupNewCrossSigning: true, authUploadDeviceSigningKeys: this.#authenticate });
    const key = await crypto.createRecoveryKeyFromPassphrase();
    await crypto.bootstrapSecretStorage({
      createSecretStorageKey: async () => key,
      setupNewSecretStorage: true,
      setupNewKeyBackup: true,
    });
    this.recoveryKey = key.encodedPrivateKey;
    return this.recoveryKey;
  }

  /** Opens secret storage with the recovery key, takes the identity's private keys and signs this device. */
  async recover({ recoveryKey }) {
    this.recoveryKey = recoveryKey;
    const crypto = this.client.getCrypto();
    // The private keys can be checked only once the public ones are here.
    if (!(await crypto.userHasCrossSigningKeys(this.client.getUserId(), true))) throw new Error("There is no identity.");
    await crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: this.#authenticate });
    await crypto.loadSessionBackupPrivateKeyFromSecretStorage();
    await crypto.checkKeyBackupAndEnable();
  }

  async restoreBackup() {
    const { imported, total } = await this.client.getCrypto().restoreKeyBackup();
    return { imported, total };
  }

  async encryptionStatus() {
    const crypto = this.client.getCrypto();
    return {
      crossSigningReady: await crypto.isCrossSigningReady(),
      secretStorageReady: await crypto.isSecretStorageReady(),
      backupVersion: await crypto.getActiveSessionBackupVersion(),
      backup: await crypto.getKeyBackupInfo(),
    };
  }

  // verification by short authentication string

  #keep(request) {
    const kept = { request, sas: null, done: false };
    this.verifications.set(request.transactionId, kept);
    const watch = () => {
      kept.done ||= request.phase === VerificationPhase.Done;
      if (request.verifier && !kept.verifier) {
        kept.verifier = request.verifier;
        kept.verifier.on(VerifierEvent.ShowSas, (sas) => (kept.sas = sas));
      }
    };
    request.on(VerificationRequestEvent.Change, watch);
    watch();
    return kept;
  }

  async requestVerification({ userId, deviceId }) {
    const crypto = this.client.getCrypto();
    const request = userId
      ? await crypto.requestDeviceVerification(userId, deviceId)
      : await crypto.requestOwnUserVerification();
    this.#keep(request);
    return request.transactionId;
  }

  async verificationRequests() {
    return [...this.verifications.keys()];
  }

  async verification({ transactionId }) {
    const kept = this.verifications.get(transactionId);
    if (!kept) return null;
    return { phase: VerificationPhase[kept.request.phase], emoji: kept.sas?.sas.emoji ?? null, done: kept.done };
  }

  async acceptVerification({ transactionId }) {
    await this.verifications.get(transactionId).request.accept();
  }

  async startSas({ transactionId }) {
    const kept = this.verifications.get(transactionId);
    kept.verifier = await kept.request.startVerification("m.sas.v1");
    kept.verifier.on(VerifierEvent.ShowSas, (sas) => (kept.sas = sas));
    kept.verifier.verify().catch((failure) => (kept.failure = failure));
  }

  async continueSas({ transactionId }) {
    const kept = this.verifications.get(transactionId);
    kept.verifier.verify().catch((failure) => (kept.failure = failure));
  }

  async confirmSas({ transactionId }) {
    await this.verifications.get(transactionId).sas.confirm();
  }
}
