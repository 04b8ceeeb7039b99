// Objects of Kubernetes (a JSON list on standard input) against the models of npm's kubernetes-models; prints a JSON list of what is wrong.
//
// The models say nothing of fields that they do not know, which are what a slip mostly is. So the models are given objects that remember
// what was asked of them: a field that nobody has asked for is unknown. Where a model asks for no field at all it leaves the object free.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const require = createRequire(import.meta.url);
const prefixes = {
  v1: 'kubernetes-models/_schemas/IoK8sApiCoreV1',
  'apps/v1': 'kubernetes-models/_schemas/IoK8sApiAppsV1',
  'policy/v1': 'kubernetes-models/_schemas/IoK8sApiPolicyV1',
  'autoscaling/v2': 'kubernetes-models/_schemas/IoK8sApiAutoscalingV2',
  'networking.k8s.io/v1': 'kubernetes-models/_schemas/IoK8sApiNetworkingV1',
  'monitoring.coreos.com/v1': '@kubernetes-models/prometheus-operator/_schemas/MonitoringCoreosComV1',
};

function watch(value, path, seen) {
  if (value === null || typeof value !== 'object')
    return value;
  const children = new Map();
  const proxy = new Proxy(value, {
    get(target, name) {
      if (typeof name === 'symbol' || !(Array.isArray(target) || Object.hasOwn(target, name) || !(name in target)))
        return Reflect.get(target, name);
      seen.get(path).add(name);
      if (!children.has(name))
        children.set(name, watch(target[name], `${path}/${name}`, seen));
      return children.get(name);
    },
  });
  seen.set(path, new Set());
  return proxy;
}

function unknown(value, path, seen) {
  if (value === null || typeof value !== 'object')
    return [];
  const asked = seen.get(path);
  if (asked === undefined || asked.size === 0)
    return [];
  return Object.keys(value).flatMap((name) =>
    Array.isArray(value) || asked.has(name) ? unknown(value[name], `${path}/${name}`, seen) : [`${path}/${name} is no field of it`]);
}

function check(object) {
  const name = `${object.kind}/${object.metadata?.name}`;
  const prefix = prefixes[object.apiVersion];
  if (prefix === undefined)
    return [`${name}: no model of ${object.apiVersion}`];
  const { validate } = require(new URL(`node_modules/${prefix}${object.kind}.js`, import.meta.url).pathname);
  const seen = new Map();
  const good = validate(watch(object, '', seen));
  const errors = good ? [] : validate.errors.map((e) => `${e.instancePath} ${e.keyword} ${JSON.stringify(e.params)}`);
  return [...errors, ...unknown(object, '', seen)].map((e) => `${name}: ${e}`);
}

console.log(JSON.stringify(JSON.parse(readFileSync(0)).flatMap(check)));
