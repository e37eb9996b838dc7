<?php
// Calls the small operations of the service by its description alone: php soap_peer.php URL VERSION ORGAN TOKEN DOCUMENT CODE
[, $url, $version, $organ, $token, $document, $code] = $argv;
$client = new SoapClient("$url?wsdl", [
    'soap_version' => $version === '12' ? SOAP_1_2 : SOAP_1_1,
    'cache_wsdl' => WSDL_CACHE_NONE,
    'features' => SOAP_SINGLE_ELEMENT_ARRAYS,
    'trace' => true,
]);
$caller = ['OrganId' => $organ, 'Token' => $token];
$namespace = 'http://www.e-doc.vn/Schema/';
try {
    $answers = [
        'pending' => $client->GetPendingDocumentIds($caller),
        'confirmed' => $client->ConfirmReceived($caller + ['DocumentId' => $document]),
        'organizations' => $client->GetOrganizations($caller),
        'traces' => $client->GetTraces($caller + ['TimeStamp' => '2020/01/01 00:00:00']),
        'refused' => $client->GetTraces(['OrganId' => $organ, 'Token' => 'TEST-WRONG']),
    ];
    $key = new SoapVar(['KeyInfo' => $caller], SOAP_ENC_OBJECT, 'Signature', $namespace);
    $client->__setSoapHeaders(new SoapHeader($namespace, 'Signature', $key));
    $answers['updated'] = $client->UpdateTraces([
        'ResponseFor' => ['OrganId' => 'H99', 'Code' => $code, 'DocumentId' => 'D', 'PromulgationDate' => '2026/11/20'],
        'From' => ['OrganId' => $organ, 'OrganName' => 'TEST'],
        'StatusCode' => '03',
        'Timestamp' => '2026/11/21 09:00:00',
    ]);
    $client->__setSoapHeaders(null);
    try {
        (new SoapClient(null, ['location' => $url, 'uri' => 'urn:x']))->Nothing();
    } catch (SoapFault $fault) {
        $answers['fault'] = $fault->detail->code;
    }
    echo json_encode($answers);
} catch (SoapFault $fault) {
    fwrite(STDERR, $fault->getMessage() . "\n" . $client->__getLastRequest() . "\n" . $client->__getLastResponse());
    exit(1);
}
