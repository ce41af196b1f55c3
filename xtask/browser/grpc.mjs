// A client of 2.x as far as the console shows one: it sets up a connection, registers an instance,
// subscribes, and acks what it is told. HTTP/2 and the three messages are written here by hand, so that
// nothing has to be installed for it.

import http2 from 'node:http2';

function varint(value) {
  const bytes = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest & 127) | 128);
    rest >>>= 7;
  }
  return Buffer.from([...bytes, rest]);
}

const field = (number, bytes) => Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes]);

function payload(type, body) {
  const metadata = Buffer.concat([field(3, Buffer.from(type)), field(8, Buffer.from('127.0.0.1'))]);
  const any = field(2, Buffer.from(JSON.stringify(body)));
  const message = Buffer.concat([field(2, metadata), field(3, any)]);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** The fields of a message whose fields all have a length. */
function fields(bytes) {
  const found = {};
  let at = 0;
  const next = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      value |= (byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const number = next() >>> 3;
    const length = next();
    found[number] = bytes.subarray(at, at + length);
    at += length;
  }
  return found;
}

function read(message) {
  const { 2: metadata, 3: any } = fields(message);
  const { 3: type } = fields(metadata);
  return { type: type.toString(), body: JSON.parse(fields(any)[2].toString()) };
}

/** Hands out the messages of a stream one by one. */
function messages(stream, take) {
  let rest = Buffer.alloc(0);
  stream.on('data', (data) => {
    rest = Buffer.concat([rest, data]);
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
      const length = rest.readUInt32BE(1);
      take(read(rest.subarray(5, 5 + length)));
      rest = rest.subarray(5 + length);
    }
  });
}

export class Client {
  constructor(address) {
    this.session = http2.connect(`http://${address}`);
    this.session.on('error', () => {});
    this.serial = 0;
  }

  open(path) {
    const stream = this.session.request({
      ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers',
    });
    stream.on('error', () => {});
    return stream;
  }

  ask(type, body) {
    return new Promise((resolve, reject) => {
      const stream = this.open('/Request/request');
      messages(stream, (answer) => (answer.body.resultCode === 200 ? resolve(answer) : reject(new Error(JSON.stringify(answer)))));
      stream.on('close', () => reject(new Error(`${type}: no answer`)));
      stream.end(payload(type, { requestId: String(++this.serial), module: 'naming', headers: {}, ...body }));
    });
  }

  async set_up(clientVersion, application) {
    await this.ask('ServerCheckRequest', {});
    this.stream = this.open('/BiRequestStream/requestBiStream');
    messages(this.stream, ({ type, body }) => {
      if (type === 'SetupAckRequest') return;
      const answer = { NotifySubscriberRequest: 'NotifySubscriberResponse', ClientDetectionRequest: 'ClientDetectionResponse' }[type];
      if (answer) this.stream.write(payload(answer, { resultCode: 200, errorCode: 0, requestId: body.requestId }));
    });
    this.stream.write(payload('ConnectionSetupRequest', {
      clientVersion, tenant: 'public', labels: { source: 'sdk', module: 'naming', AppName: application }, headers: {},
    }));
    // The server answers nothing to a setup; what needs one is asked until it is there.
    for (let tries = 0; ; tries += 1) {
      try {
        await this.ask('HealthCheckRequest', {});
        return;
      } catch (error) {
        if (tries > 50) throw error;
        await new Promise((resolve) => { setTimeout(resolve, 20); });
      }
    }
  }

  register(serviceName, ip, port) {
    return this.ask('InstanceRequest', {
      namespace: 'public', serviceName, groupName: 'DEFAULT_GROUP', type: 'registerInstance',
      instance: { ip, port, weight: 1, healthy: true, enabled: true, ephemeral: true, clusterName: 'DEFAULT', metadata: { zone: 'a' } },
    });
  }

  subscribe(serviceName) {
    return this.ask('SubscribeServiceRequest', { namespace: 'public', serviceName, groupName: 'DEFAULT_GROUP', subscribe: true, clusters: '' });
  }

  close() {
    this.session.destroy();
  }
}
