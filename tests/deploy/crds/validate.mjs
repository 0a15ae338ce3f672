// Reads a JSON list of objects; prints a JSON list with what is wrong with each, '' where nothing is.
import { readFileSync } from 'node:fs';
import * as gateway from '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1';
import * as keda from '@kubernetes-models/keda/keda.sh/v1alpha1';
import * as monitoring from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1';

const known = {
  'gateway.networking.k8s.io/v1': gateway,
  'keda.sh/v1alpha1': keda,
  'monitoring.coreos.com/v1': monitoring,
};

function fault(object) {
  try {
    new known[object.apiVersion][object.kind](object).validate();
    return '';
  } catch (error) {
    return `${object.kind}: ${error.message}`;
  }
}

console.log(JSON.stringify(JSON.parse(readFileSync(0)).map(fault)));
